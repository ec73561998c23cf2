"""Buckets and containers: made where they are missing, with the vendors' own clients.

Belongs here: names, looking a bucket up and creating it, and one error for each way in which that fails.
Does not belong here: objects in it (``resources.objects``). Credentials come as for ``ObjectStore.at``: the same
``config``, else the vendors' own variables.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from resources.errors import MendableError
from resources.locations import open_location
from resources.objects import CredentialsRefused, ObjectAccessError, refusal

# Seconds; also the vendors' clients would else wait for minutes for a server that is not there.
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30

_KINDS = {"s3": "bucket", "gs": "bucket", "az": "container"}
_NAMES = {
    "s3": (r"(?!xn--)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "lower-case letters, digits, '.' and '-'"),
    "gs": (r"(?!goog)(?!.*\.\.)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", "lower-case letters, digits, '.', '_' and '-'"),
    "az": (r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "lower-case letters, digits and single '-'"),
}
_LIKE_AN_ADDRESS = re.compile(r"\d+(\.\d+){3}")


class BucketNameIllegal(MendableError):
    """The vendor allows no bucket or container of this name."""


class BucketNameTaken(MendableError):
    """Somebody else has a bucket of this name."""


def ensure_bucket(url: str | Path, **config: Any) -> bool:
    """Creates the bucket or container of ``url`` where it is missing: True if it was created.

    A folder or ``memory://`` needs none: False. ``config`` is that of ``ObjectStore.at``. Raises
    ``ObjectUrlError``, ``BucketNameIllegal`` (before anything is asked), ``BucketNameTaken``, ``CredentialsRefused``,
    ``AccessDenied``, ``ObjectAccessError`` for a server that cannot be reached.
    """
    location = open_location(url, **config)
    if location.native is None or location.url.startswith("memory:"):
        return False
    scheme, name = urlsplit(location.url).scheme, urlsplit(location.url).netloc
    check_bucket_name(scheme, name)
    create = {"s3": _on_s3, "gs": _on_google, "az": _on_azure}[scheme]
    return create(name, f"{scheme}://{name}", config)


def check_bucket_name(scheme: str, name: str) -> None:
    """Raises ``BucketNameIllegal``; the emulators accept what the vendors do not."""
    pattern, alphabet = _NAMES[scheme]
    if not re.fullmatch(pattern, name) or _LIKE_AN_ADDRESS.fullmatch(name):
        raise BucketNameIllegal(
            f"{name!r} cannot be a {_KINDS[scheme]} of {scheme}://: take 3 to 63 {alphabet}, "
            "a letter or digit at both ends, not like an IP address"
        )


def _on_s3(name: str, where: str, config: Mapping[str, Any]) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError
    from dagster_aws.s3 import S3Resource

    region = config.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        client: Any = S3Resource(
            endpoint_url=config.get("endpoint"),  # without one boto3 reads AWS_ENDPOINT_URL
            region_name=region,
            aws_access_key_id=config.get("access_key_id"),
            aws_secret_access_key=config.get("secret_access_key"),
            aws_session_token=config.get("session_token"),
            max_attempts=3,
        ).get_client()
        try:
            client.head_bucket(Bucket=name)
            return False
        except ClientError as error:
            if _status(error) != 404:
                raise _of_s3(where, client, error) from None
        try:
            options = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            client.create_bucket(Bucket=name, **options)
            return True
        except client.exceptions.BucketAlreadyOwnedByYou:
            return False
        except client.exceptions.BucketAlreadyExists:
            raise BucketNameTaken(_taken(where)) from None
        except ClientError as error:
            raise _of_s3(where, client, error) from None
    except BotoCoreError as error:
        raise _unreachable(where, error) from None


def _of_s3(where: str, client: Any, error: Any) -> ObjectAccessError:
    """A HEAD has no body, so a refused one does not say whether it was the key or the right: a listing does."""
    if _status(error) not in (400, 401, 403):
        return _unreachable(where, error)
    code = error.response["Error"]["Code"]
    if error.operation_name == "HeadBucket":
        try:
            client.list_objects_v2(Bucket=where.removeprefix("s3://"), MaxKeys=1)
        except type(error) as asked:
            code = asked.response["Error"]["Code"]
    return refusal(where, code)


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _on_azure(name: str, where: str, config: Mapping[str, Any]) -> bool:
    from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
    from azure.storage.blob import BlobServiceClient, LinearRetry

    account = config.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    endpoint = config.get("endpoint") or os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT")
    key = config.get("account_key") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
    credential: Any = {"account_name": account, "account_key": key} if key else None
    client = BlobServiceClient(
        endpoint or f"https://{account}.blob.core.windows.net",
        credential=credential or config.get("sas_key") or os.environ.get("AZURE_STORAGE_SAS_KEY"),
        retry_policy=LinearRetry(backoff=1, retry_total=3, random_jitter_range=1),  # its own begins at 15 s
        connection_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
    )
    with client:
        container = client.get_container_client(name)
        try:
            if container.exists():  # asked first: who may use a container need not be allowed to make one
                return False
            container.create_container()
            return True
        except ResourceExistsError:
            return False
        except HttpResponseError as error:
            if error.status_code in (401, 403):
                raise refusal(where, str(error), error.status_code == 401) from None
            raise _unreachable(where, error) from None
        except AzureError as error:
            raise _unreachable(where, error) from None


def _on_google(name: str, where: str, config: Mapping[str, Any]) -> bool:
    from google.api_core.exceptions import Conflict, Forbidden, GoogleAPICallError, Unauthorized
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.exceptions import NotFound
    from requests.exceptions import RequestException

    options: dict[str, Any] = {"timeout": (CONNECT_TIMEOUT, READ_TIMEOUT), "retry": None}
    try:
        client = _google_client(config)
        try:
            client.get_bucket(name, **options)
            return False
        except NotFound:
            pass
        try:
            client.create_bucket(name, **options)
            return True
        except Conflict:
            if client.lookup_bucket(name, **options) is not None:  # made by somebody beside us, for us
                return False
            raise BucketNameTaken(_taken(where)) from None
    except Unauthorized:
        raise refusal(where, "", unauthenticated=True) from None
    except Forbidden as error:
        raise refusal(where, str(error.reason or "")) from None
    except GoogleAuthError:
        raise CredentialsRefused(f"{where}: Google refused the credentials or found none: check them") from None
    except (GoogleAPICallError, RequestException) as error:
        raise _unreachable(where, error) from None


def _google_client(config: Mapping[str, Any]) -> Any:
    """Reads a key as obstore does: ``gcs_base_url`` and ``disable_oauth`` in it mean another server, no sign-in."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage
    from google.oauth2 import service_account

    text = config.get("service_account_key") or os.environ.get("GOOGLE_SERVICE_ACCOUNT_KEY")
    path = config.get("service_account") or os.environ.get("GOOGLE_SERVICE_ACCOUNT")
    if not text and path:
        text = Path(path).read_text()
    if not text:
        try:
            return storage.Client()
        except OSError as error:
            raise ObjectAccessError("a gs:// bucket belongs to a project: set GOOGLE_CLOUD_PROJECT") from error
    key = json.loads(text)
    options = {"api_endpoint": key["gcs_base_url"]} if key.get("gcs_base_url") else None
    credentials: Any = AnonymousCredentials()
    if not key.get("disable_oauth"):
        credentials = service_account.Credentials.from_service_account_info(
            key, scopes=["https://www.googleapis.com/auth/devstorage.full_control"]
        )
    return storage.Client(project=key.get("project_id", "none"), credentials=credentials, client_options=options)


def _taken(where: str) -> str:
    return f"{where} belongs to somebody else: choose another name"


def _unreachable(where: str, error: BaseException) -> ObjectAccessError:
    """Names the kind of failure only: the clients' texts may repeat what was sent."""
    return ObjectAccessError(f"{where}: {type(error).__name__} when asked for: check network and endpoint")
