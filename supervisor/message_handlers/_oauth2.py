"""Access tokens by OAuth 2.0, for handlers of services that take no password any more.

In: the table ``oauth2`` of a handler. Out: a function that returns a token, and asks for a new one when that is needed.
A script runs unattended, so only what works without a person is supported: client credentials and refresh tokens
(RFC 6749, 4.4 and 6), and the signed assertions of Google's service accounts (RFC 7523).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import attrs

from supervisor._models.values import noting_handover
from supervisor._text import one_line
from supervisor.errors import ConfigurationError, DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.message_handlers._http import Response

SETTINGS = (
    "provider",
    "tenant",
    "client_id",
    "client_secret",
    "refresh_token",
    "service_account",
    "subject",
    "token_url",
)
_MARGIN_S = 120.0  # a token that is about to expire would be refused on its way
_USUAL_LIFE_S = 3599.0
_RETRY_S = 3600.0
_ASSERTION_S = 3600  # the most that Google takes

# https://learn.microsoft.com/en-us/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
# https://learn.microsoft.com/en-us/graph/auth-v2-service
# https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
_SCOPES = {
    ("microsoft", "smtp", "application"): "https://outlook.office365.com/.default",
    ("microsoft", "smtp", "user"): "https://outlook.office.com/SMTP.Send offline_access",
    ("microsoft", "graph", "application"): "https://graph.microsoft.com/.default",
    ("microsoft", "graph", "user"): "https://graph.microsoft.com/Mail.Send offline_access",
    ("google", "smtp", "application"): "https://mail.google.com/",
    ("google", "smtp", "user"): "",  # a refresh token has its scope
}
_GOOGLE_URL = "https://oauth2.googleapis.com/token"

# https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
_REMEDIES = {
    "AADSTS50034": "there is no such user in this tenant: check username and tenant",
    "AADSTS50053": "the account is locked: unlock it, or wait",
    "AADSTS50076": "the account asks for a second factor: let an application log in, with client_secret",
    "AADSTS50126": "the user's password is wrong: let an application log in, with client_secret",
    "AADSTS53003": "a Conditional Access policy refuses this login: exempt the application from it",
    "AADSTS65001": "nobody has consented: let an administrator grant the application its permissions",
    "AADSTS70000": "the refresh token is not valid: sign in once more and store the new one",
    "AADSTS70008": "the refresh token has expired: sign in once more and store the new one",
    "AADSTS700016": "the tenant does not know this application: check client_id and tenant",
    "AADSTS700082": "the refresh token has expired, since it was not used for 90 days: sign in once more",
    "AADSTS7000112": "the application is disabled: enable it in Microsoft Entra",
    "AADSTS7000215": "client_secret is wrong: give the secret's value, not its ID",
    "AADSTS7000222": "client_secret has expired: make a new one in Microsoft Entra",
    "AADSTS90002": "there is no such tenant: check tenant",
    "AADSTS900023": "tenant is no tenant: give its ID or its domain",
    "invalid_grant": "the refresh token is no longer valid, or the service account may not act for this mailbox",
    "unauthorized_client": "let an administrator of Google Workspace give the service account domain-wide delegation",
    "invalid_client": "check client_id and client_secret",
    "invalid_scope": "the permission is missing: add it to the application",
}


@attrs.frozen(kw_only=True)
class Login:
    """How a program proves who it is.

    Args:
        provider: "microsoft" or "google".
        tenant: Microsoft: the tenant's ID or its domain.
        client_id: The application's ID.
        client_secret: Its secret; "" where there is none.
        refresh_token: What a person's sign-in left; "" where the application logs in for itself.
        service_account: Google: the JSON key of a service account; "" for none.
        subject: Google: the mailbox that the service account acts for.
        token_url: Where tokens are given, if not by the provider's usual server.
    """

    provider: Literal["microsoft", "google"]
    tenant: str = ""
    client_id: str = ""
    client_secret: str = attrs.field(default="", repr=False)
    refresh_token: str = attrs.field(default="", repr=False)
    service_account: str = attrs.field(default="", repr=False)
    subject: str = ""
    token_url: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any], handler: str, mailbox: str) -> Login:
        """Return what a handler's table ``oauth2`` means.

        Args:
            settings: The table.
            handler: The handler's class, for errors.
            mailbox: The address that sends, which a service account acts for unless ``subject`` says another.

        Raises:
            ConfigurationError: Something is missing, unknown or no text. No secret is quoted.
        """
        unknown = [each for each in settings if each not in SETTINGS]
        if unknown:
            raise ConfigurationError(f"{handler}: oauth2 has no setting {unknown[0]!r}; it has {', '.join(SETTINGS)}")
        texts = {name: value for name, value in settings.items() if value is not None}
        for name, value in texts.items():
            if not isinstance(value, str) or not value.strip():
                raise ConfigurationError(f"{handler}: oauth2.{name} must be a text that is not blank")
        if texts.get("provider") not in {"microsoft", "google"}:
            got = repr(texts["provider"]) if "provider" in texts else "nothing"
            raise ConfigurationError(f"{handler}: oauth2.provider must be 'microsoft' or 'google', got {got}")
        login = cls(**{"subject": mailbox, **{name: value.strip() for name, value in texts.items()}})
        missing = login.missing
        if missing:
            raise ConfigurationError(f"{handler}: oauth2 for {login.provider} needs {missing}")
        return login

    @property
    def missing(self) -> str:
        """What is missing, "" if nothing is."""
        if self.provider == "google":
            is_complete = self.service_account or (self.client_id and self.client_secret and self.refresh_token)
            return "" if is_complete else "service_account, or client_id, client_secret and refresh_token"
        is_complete = self.tenant and self.client_id and (self.client_secret or self.refresh_token)
        return "" if is_complete else "tenant, client_id, and client_secret or refresh_token"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets, which no error may repeat."""
        return tuple(filter(None, (self.client_secret, self.refresh_token, self.service_account)))

    @property
    def url(self) -> str:
        """Where tokens are given."""
        if self.token_url:
            return self.token_url
        if self.provider == "google":
            return _GOOGLE_URL
        return f"https://login.microsoftonline.com/{quote(self.tenant, safe='')}/oauth2/v2.0/token"


class TokenSource:
    """Returns access tokens, each until it expires. Threads may share it: two of them may ask at the same time.

    Args:
        login: How the program proves who it is.
        service: What the token is for: "smtp" or "graph".
        timeout_s: The most seconds to wait for the provider's answer.
    """

    def __init__(self, login: Login, service: Literal["smtp", "graph"], timeout_s: float) -> None:
        self._login = login
        self._service = service
        self._timeout_s = timeout_s
        self._refresh_token = login.refresh_token
        self._token = ""
        self._until_s = 0.0
        self._is_new = False

    def __call__(self) -> str:
        """Return a token.

        Raises:
            DeliveryError: The provider gave none; temporary, and asked again after an hour where it refused the login.
        """
        if self._token and time.monotonic() < self._until_s:
            self._is_new = False
            return self._token
        return self._fetch()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat: the token, and what it was got with."""
        return tuple(filter(None, (self._token, self._refresh_token, *self._login.secrets)))

    def renew(self) -> bool:
        """Forget a token that was refused; tell whether a new one may be better, since that one was kept before."""
        self._token = ""
        return not self._is_new

    def _fetch(self) -> str:
        from supervisor.message_handlers._http import HttpConnection

        connection = HttpConnection(self._login.url, self._timeout_s)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            with noting_handover(_nothing):  # what goes out here is no message
                response = connection.post(connection.path, urlencode(self._form()).encode(), headers)
        finally:
            connection.close()
        document = response.json_object
        token = document.get("access_token")
        if not response.is_success or not isinstance(token, str) or not token:
            raise self._refusal(response, document)
        self._keep(token, document)
        return token

    def _keep(self, token: str, document: Mapping[str, Any]) -> None:
        try:
            life_s = float(document.get("expires_in", _USUAL_LIFE_S))
        except (TypeError, ValueError):
            life_s = _USUAL_LIFE_S
        self._token, self._is_new = token, True
        self._until_s = time.monotonic() + life_s - min(_MARGIN_S, life_s / 2)
        renewed = document.get("refresh_token")  # Microsoft gives a new one each time; the old one goes on being valid
        self._refresh_token = renewed if isinstance(renewed, str) and renewed else self._refresh_token

    def _form(self) -> dict[str, str]:
        login = self._login
        whose = "user" if self._refresh_token else "application"
        scope = _SCOPES[login.provider, self._service, whose]
        if login.service_account:
            assertion = _assertion(login, scope)
            return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        grant = {"grant_type": "client_credentials"}
        if self._refresh_token:
            grant = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        form = {**grant, "client_id": login.client_id, "client_secret": login.client_secret, "scope": scope}
        return {name: value for name, value in form.items() if value}

    def _refusal(self, response: Response, document: Mapping[str, Any]) -> DeliveryError:
        from supervisor.message_handlers._http import redact_secrets

        secrets = self.secrets
        error = str(document.get("error") or "")
        said = one_line(redact_secrets(str(document.get("error_description") or ""), secrets), 300)
        # The description begins with the code: "AADSTS7000215: Invalid client secret provided. ..."
        code = said.partition(":")[0]
        remedy = _REMEDIES.get(code) or _REMEDIES.get(error, "")
        what = ": ".join(filter(None, (response.status_text, said or error or response.body_line(secrets))))
        reason = f"{_NAMES[self._login.provider]} gave no access token: {what}{remedy and f'; {remedy}'}"
        is_refused = bool(error) and error not in {"temporarily_unavailable", "server_error"}
        wait_s = max(_RETRY_S, response.retry_after_s or 0.0) if is_refused else response.retry_after_s
        return DeliveryError(reason, retry_after_s=wait_s)


_NAMES = {"microsoft": "Microsoft", "google": "Google"}


def _nothing() -> None:
    """Do nothing."""


def _assertion(login: Login, scope: str) -> str:
    """Return the signed statement that a service account asks for a token with.

    See https://developers.google.com/identity/protocols/oauth2/service-account#httprest.
    """
    try:
        from google.auth import crypt, jwt
    except ImportError as exc:
        reason = "a service account of Google needs google-auth: pip install 'agrc-supervisor[google]'"
        raise DeliveryError(reason, permanent=True) from exc
    try:
        key = json.loads(login.service_account)
        signer = crypt.RSASigner.from_service_account_info(key)
        now = int(time.time())
        claims = {"iss": key["client_email"], "sub": login.subject, "scope": scope, "aud": login.url}
        signed: bytes = jwt.encode(signer, {**claims, "iat": now, "exp": now + _ASSERTION_S})
    except (ValueError, KeyError, TypeError) as exc:
        raise DeliveryError(
            "oauth2.service_account is no JSON key of a service account, as Google gave it for download", permanent=True
        ) from exc
    return signed.decode()
