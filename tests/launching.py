"""How the UI asks for a run of assets of the company `bakery`."""

from typing import Any

LAUNCH = """
mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""


def launch_of(*assets: str) -> dict[str, Any]:
    """The values of `LAUNCH`."""
    selector = {
        "repositoryLocationName": "bakery",
        "repositoryName": "__repository__",
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": [asset]} for asset in assets],
        "assetCheckSelection": [],
    }
    return {"p": {"selector": selector, "mode": "default"}}
