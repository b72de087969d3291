"""Errors of Google's libraries: which of them are worth another attempt, and each as one line."""

import importlib
import json
import re
import sys
import warnings
from collections.abc import Callable

from launcher.common.document import SpecError

ANSWER = 60.0  # seconds to wait for one answer
LIMIT = 120.0  # seconds within which a request is repeated
FIRST, LONGEST = 1.0, 20.0  # seconds between two attempts; they grow
SHOWN = 300  # characters of a service's message
LATER = (408, 429, 500, 502, 503, 504)  # "try again"
TOO_FAST = ("rateLimitExceeded", "userRateLimitExceeded")  # Drive says so by 403
SECRETS = re.compile(
    r"ya29\.[\w.-]+|1//[\w-]+|eyJ[\w.-]{20,}|(?i:bearer) [\w.-]+|-----BEGIN.*", re.DOTALL
)
INSTALL = 'pip install -c constraints.txt -e ".[cloud]"'


class CloudError(SpecError):
    """What Google Cloud refused or did not answer: what, why and what to do, in one line."""

    status = 0  # of HTTP; 0: there was no answer


def sdk(name: str):
    """Import a module of Google's; they take seconds, so only what is used.

    Raises:
        CloudError: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # of Pythons that it will no longer support one day
            warnings.simplefilter("ignore", FutureWarning)
            return importlib.import_module(name)
    except ImportError as error:
        raise CloudError(f"{error.name or name} is missing: install it by {INSTALL}") from None


def retry(predicate: Callable[[BaseException], bool] | None = None):
    """Repeat a request with growing pauses, up to `LIMIT` seconds in all; print the first time.

    Args:
        predicate: after which errors; by default after all transient ones, which is for requests
            that may take effect twice.
    """
    printed = []

    def announce(error: Exception) -> None:
        if not printed:  # nobody is to take it for a standstill
            text = f"[launcher] trying again, for {LIMIT:.0f} s at most: {clean(error)}"
            print(text, file=sys.stderr, flush=True)
            printed.append(error)

    return sdk("google.api_core.retry").Retry(
        predicate=predicate or is_transient,
        initial=FIRST,
        maximum=LONGEST,
        timeout=LIMIT,
        on_error=announce,
    )


def is_transient(error: BaseException) -> bool:
    """Whether the same request may be answered a moment later."""
    requests = sdk("requests.exceptions")
    auth = sdk("google.auth.exceptions")
    lost = (requests.ConnectionError, requests.Timeout)
    lost += (requests.ChunkedEncodingError, requests.ContentDecodingError)
    if isinstance(error, (*lost, ConnectionError, TimeoutError)):
        return True
    if isinstance(error, auth.GoogleAuthError):  # no token, for the moment
        return isinstance(error, auth.TransportError) or bool(getattr(error, "retryable", False))
    return (get_status(error) in LATER and not is_quota(error)) or get_reason(error) in TOO_FAST


def had_no_effect(error: BaseException) -> bool:
    """Whether a request that failed for the moment surely did nothing, so that it may be repeated.

    It was turned away as one too many, or never left: no token, no connection.
    """
    if not is_transient(error):
        return False
    if isinstance(error, sdk("google.auth.exceptions").GoogleAuthError) or get_status(error) == 429:
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    # A name that does not resolve, a refused connection, no connection in time.
    urllib3 = sdk("urllib3.exceptions")
    return isinstance(reason, (urllib3.NewConnectionError, urllib3.ConnectTimeoutError))


def get_status(error: BaseException) -> int:
    """The HTTP status of a refusal; 0: it is none."""
    answer = getattr(error, "response", None)  # what the storage client raises within an upload
    status = getattr(answer, "status_code", None) or getattr(error, "code", None)
    return int(status) if isinstance(status, int) else 0


def get_reason(error: BaseException) -> str:
    """The reason of a refusal in one word, where the service names it: "rateLimitExceeded"."""
    details = getattr(error, "errors", None) or [{}]
    return str(details[0].get("reason", "")) if isinstance(details[0], dict) else ""


def is_quota(error: BaseException) -> bool:
    """Machines used up, which no waiting helps; not: too many requests a minute."""
    return get_status(error) == 429 and "exceed quota limits" in str(error)


def clean(error: BaseException) -> str:
    """The text of an error: a line, not too long, without anything secret."""
    requests = sdk("requests.exceptions")
    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return f"no connection, or no answer in time: {type(error).__name__}"
    if isinstance(error, json.JSONDecodeError):
        return "the answer is not JSON; perhaps this network wants a login first"
    inner = getattr(getattr(error, "response", None), "text", None)
    if isinstance(error, sdk("google.auth.exceptions").GoogleAuthError) and error.args:
        inner = error.args[0]  # what follows is the cause, or the answer's body
    text = str(getattr(error, "message", None) or inner or error or type(error).__name__)
    if match := re.search(r'"message": *("(?:[^"\\]|\\.)*")', text):  # the service's own JSON
        text = json.loads(match[1])
    text = SECRETS.sub("(secret)", " ".join(text.split()))
    text = re.sub(r"^(GET|POST|PUT|PATCH|DELETE) https?://\S+ ", "", text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
