"""What an image brings, made once when it is built and not at each start of a container."""

from __future__ import annotations

from pathlib import Path

from caudal.environment import Environment
from caudal.runtime.location import component_tree
from caudal.transform.component import DbtProject


def prepare(env: Environment) -> list[Path]:
    """Parse the company's dbt projects into `env.shipped`, and write there what is deployed; the paths of what was made.

    A process of the image reads them as long as the project, the versions of dbt and the environment variables that the
    project reads are those of the build. If not, it parses by itself, as on a laptop.

    Raises:
        caudal.transform.project.ProjectError: dbt refuses a project.

    """
    from caudal.runtime.plan.deployed import record
    from caudal.runtime.plan.taking import take

    manifests = [project.ship(env) for project in component_tree(env).get_all_components(DbtProject)]
    return [*manifests, record(env, take(env, "the image"), env.shipped)]
