# What Caudal needs in a project of Google Cloud, and no more: APIs, a bucket, a service account with the least roles.
# Datasets are made by Caudal, which then owns them. The permissions are declared in caudal/runtime/doctor/permissions.py.
#     terraform init && terraform apply -var project=acme-data -var bucket=acme-data

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.0"
    }
  }
}

variable "project" {
  description = "CAUDAL_GCP_PROJECT"
  type        = string
}

variable "bucket" {
  description = "CAUDAL_GCP_BUCKET"
  type        = string
}

variable "location" {
  description = "CAUDAL_GCP_LOCATION: where the bucket and all datasets are"
  type        = string
  default     = "EU"
}

variable "people" {
  description = "Who may act as the platform from their own machines, such as group:data@example.com"
  type        = list(string)
  default     = []
}

variable "pods" {
  description = "Kubernetes service accounts that act as the platform, such as acme-data.svc.id.goog[caudal/caudal]"
  type        = list(string)
  default     = []
}

provider "google" {
  project = var.project
}

locals {
  apis = [
    "bigquery.googleapis.com",
    "bigquerystorage.googleapis.com",
    "storage.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iamcredentials.googleapis.com",
    "pubsub.googleapis.com",
    "serviceusage.googleapis.com",
  ]
  project_roles = ["roles/bigquery.user"]
  bucket_roles  = ["roles/storage.objectUser", "roles/storage.legacyBucketReader"]
}

resource "google_project_service" "api" {
  for_each           = toset(local.apis)
  service            = each.value
  disable_on_destroy = false
}

resource "google_service_account" "caudal" {
  account_id   = "caudal"
  display_name = "Caudal"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "project" {
  for_each = toset(local.project_roles)
  project  = var.project
  role     = each.value
  member   = google_service_account.caudal.member
}

resource "google_storage_bucket" "caudal" {
  name                        = var.bucket
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  depends_on                  = [google_project_service.api]
}

resource "google_storage_bucket_iam_member" "bucket" {
  for_each = toset(local.bucket_roles)
  bucket   = google_storage_bucket.caudal.name
  role     = each.value
  member   = google_service_account.caudal.member
}

resource "google_service_account_iam_member" "people" {
  for_each           = toset(var.people)
  service_account_id = google_service_account.caudal.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

resource "google_service_account_iam_member" "pods" {
  for_each           = toset(var.pods)
  service_account_id = google_service_account.caudal.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${each.value}"
}

output "settings" {
  value = {
    CAUDAL_ENV             = "gcp"
    CAUDAL_GCP_PROJECT     = var.project
    CAUDAL_GCP_BUCKET      = google_storage_bucket.caudal.name
    CAUDAL_GCP_LOCATION    = var.location
    CAUDAL_GCP_IMPERSONATE = google_service_account.caudal.email
  }
}
