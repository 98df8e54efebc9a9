"""Find secrets of a known form: tokens and webhooks of vendors, private keys, and passwords in URLs.

The rows of tokens were compared with the rules of gitleaks (https://github.com/gitleaks/gitleaks), the detectors of
trufflehog (https://github.com/trufflesecurity/trufflehog) and with what public repositories contain; where a vendor's
own page describes its tokens, the row names it. Prefixes that none of these confirmed were left out.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from supervisor._redaction.value_syntax import MARKER, Span, is_hidden, looks_random

if TYPE_CHECKING:
    from collections.abc import Callable

_WORD = rb"[\w-]"
_HEX = rb"[0-9A-Fa-f]"
_ALNUM = rb"[A-Za-z0-9]"


def _row(label: str, prefixes: str, rest: bytes, least: int | None = None) -> tuple[str, list[str], bytes]:
    """Return the name of a kind of token, how such tokens begin, and a pattern of what follows.

    Args:
        label: Its name.
        prefixes: How such tokens begin, separated by blanks.
        rest: What follows or, with ``least``, the characters of which it consists.
        least: How many characters follow at least; None if ``rest`` says it.
    """
    return label, prefixes.split(), rest if least is None else rest + b"{%d,}" % least


VENDOR_TOKENS = (
    # A token has at least 20 characters.
    # https://developer.hashicorp.com/vault/docs/concepts/tokens
    _row("vault_token", "hvs. hvb. hvr.", _WORD, 20),
    # https://shopify.dev/docs/apps/build/authentication-authorization
    _row("shopify_token", "shpat_ shpca_ shppa_ shpss_ shpua_ shptka_ shprt_", _HEX, 32),
    # https://docs.digitalocean.com/reference/api/create-personal-access-token/
    _row("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", _HEX, 40),
    # https://huggingface.co/docs/hub/security-tokens
    _row("huggingface_token", "hf_ api_org_", _ALNUM, 30),
    # https://docs.databricks.com/aws/en/dev-tools/auth/pat
    _row("databricks_token", "dapi", rb"[0-9a-f]{32}(?:-\d)?\b"),
    # https://support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account/
    _row("atlassian_token", "ATATT3 ATCTT3 ATBB", rb"[\w=-]", 20),
    # https://www.twilio.com/docs/iam/api-keys
    _row("twilio_key", "SK0 SK1 SK2 SK3 SK4 SK5 SK6 SK7 SK8 SK9 SKa SKb SKc SKd SKe SKf", rb"[0-9a-f]{31}\b"),
    # https://docs.gitlab.com/security/tokens/#token-prefixes
    _row("gitlab_token", "glpat-", rb"[\w.-]", 18),
    _row("gitlab_token", "gldt- glrt- glrtr- glptt- glft- glimt- glffct- glsoat- glwt- glagent-", rb"[\w.-]", 18),
    _row("gitlab_token", "gloas- glcbt- _gitlab_session= GR1348941", rb"[\w.-]", 18),
    # https://github.com/FiloSottile/age
    _row("age_secret_key", "AGE-SECRET-KEY-1 AGE-SECRET-KEY-PQ-1", rb"[0-9A-Z]", 40),
    # https://docs.anthropic.com/en/api/admin-api/apikeys/get-api-key, https://platform.openai.com/docs/api-reference
    _row("anthropic_key", "sk-ant-", _WORD, 20),
    _row("perplexity_key", "pplx-", _ALNUM, 32),
    _row("groq_key", "gsk_", _ALNUM, 40),
    _row("xai_key", "xai-", _ALNUM, 40),
    _row("replicate_token", "r8_", _ALNUM, 32),
    _row("google_oauth", "1//0", _WORD, 30),
    _row("google_api_key", "AQ.Ab8", _WORD, 30),
    _row("facebook_token", "EAAC EAAM EAAB EAAG", _ALNUM, 60),
    _row("square_token", "sq0atp- sq0csp- sq0idp-", _WORD, 20),
    _row("square_token", "EAAAE EAAAF", _WORD, 50),
    # https://docs.npmjs.com/about-access-tokens, https://guides.rubygems.org/api-key-scopes/
    _row("rubygems_key", "rubygems_", _HEX, 40),
    _row("clojars_token", "CLOJARS_", _ALNUM, 40),
    _row("nuget_key", "oy2", rb"[a-z0-9]{43}\b"),
    _row("cargo_token", "cio", rb"[A-Za-z0-9]{32}\b"),
    # https://docs.docker.com/security/access-tokens/
    _row("docker_token", "dckr_pat_ dckr_oat_", _WORD, 20),
    _row("artifactory_token", "AKCp", rb"[A-Za-z0-9]{50,80}\b"),
    _row("artifactory_token", "cmVmdGtuO", rb"[A-Za-z0-9]{40,70}\b"),
    # https://developers.linear.app, https://developers.notion.com/reference/authentication
    _row("linear_key", "lin_api_ lin_oauth_", _ALNUM, 32),
    _row("notion_token", "ntn_", _ALNUM, 40),
    _row("notion_token", "secret_", rb"[A-Za-z0-9]{43}\b"),
    _row("figma_token", "figd_", _WORD, 20),
    _row("postman_key", "PMAK-", rb"[0-9a-f-]", 40),
    _row("postman_key", "PMAT-", _ALNUM, 20),
    _row("contentful_token", "CFPAT-", _WORD, 30),
    _row("typeform_token", "tfp_", rb"[\w.=-]", 40),
    _row("hubspot_token", "pat-na1- pat-na2- pat-eu1-", rb"[0-9a-f-]", 30),
    # https://grafana.com/docs/grafana/latest/administration/service-accounts/
    _row("grafana_token", "glsa_", _WORD, 30),
    _row("grafana_token", "glc_", rb"[A-Za-z0-9+/=]", 32),
    # https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/
    _row("newrelic_key", "NRAK- NRII- NRJS- NRRA-", _WORD, 16),
    _row("dynatrace_token", "dt0c01. dt0s01. dt0s16.", rb"[A-Z0-9]{24}\.[A-Z0-9]{40,}"),
    _row("sentry_token", "sntrys_ sntryu_ sntrya_", rb"[\w+/=-]", 40),
    _row("sourcegraph_token", "sgp_", _WORD, 40),
    _row("honeycomb_key", "hcaik_ hcamk_", _ALNUM, 30),
    # https://www.pulumi.com/docs/pulumi-cloud/access-management/access-tokens/, Terraform Cloud, Fly.io, Heroku
    _row("pulumi_token", "pul-", rb"[0-9a-f]{40}\b"),
    _row("terraform_token", ".atlasv1.", rb"[\w=-]", 40),
    _row("flyio_token", "fo1_", _WORD, 40),
    _row("flyio_token", "fm1r_ fm1a_ fm2_", rb"[A-Za-z0-9+/=,_]", 40),
    _row("heroku_key", "HRKU-", _WORD, 30),
    # https://answers.netlify.com/t/change-to-the-netlify-authentication-token-format/106146
    _row("netlify_token", "nfp_ nfo_ nfc_ nfu_ nfb_", _ALNUM, 30),
    _row("vercel_token", "vcp_ vci_ vca_ vcr_ vck_", _ALNUM, 24),
    _row("render_key", "rnd_", _ALNUM, 24),
    _row("planetscale_token", "pscale_tkn_ pscale_oauth_ pscale_pw_", rb"[\w=.-]", 30),
    _row("supabase_key", "sbp_ sb_secret_", _WORD, 20),
    _row("neon_key", "napi_", _ALNUM, 40),
    _row("doppler_token", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", rb"[\w.-]", 40),
    _row("onepassword_token", "ops_eyJ", rb"[\w+/=-]", 40),
    _row("onepassword_key", "A3-", rb"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}\b"),
    _row("tailscale_key", "tskey-", _WORD, 16),
    _row("cloudflare_key", "v1.0-", rb"[0-9a-f]{24}-[0-9a-f]{100,}"),
    # https://developers.cloudflare.com/fundamentals/api/get-started/token-formats/
    _row("cloudflare_key", "cfut_ cfat_ cfk_", _ALNUM, 30),
    _row("alibaba_access_key_id", "LTAI", rb"[A-Za-z0-9]{16,20}\b"),
    _row("tencent_secret_id", "AKID", rb"[A-Za-z0-9]{32}\b"),
    _row("aws_access_key_id", "ABIA ACCA", rb"[A-Z0-9]{16}\b"),
    _row("aws_bedrock_key", "ABSK", rb"[A-Za-z0-9+/]", 100),
    _row("aws_bedrock_key", "bedrock-api-key-", rb"[A-Za-z0-9+/=]", 20),
    _row("brevo_key", "xkeysib- xsmtpsib-", rb"[0-9A-Za-z-]", 40),
    _row("duffel_token", "duffel_test_ duffel_live_", rb"[\w=-]", 30),
    _row("easypost_key", "EZAK EZTK", rb"[A-Za-z0-9]{54}\b"),
    _row("shippo_token", "shippo_live_ shippo_test_", _HEX, 32),
    _row("flutterwave_key", "FLWSECK_TEST- FLWSECK-", _ALNUM, 12),
    _row("paypal_token", "access_token$production$ access_token$sandbox$", rb"[0-9a-z$]", 30),
    _row("adyen_key", "AQE", rb"[A-Za-z0-9+/=.]{6,}[+/=][A-Za-z0-9+/=.\-]{20,}"),
    _row("plaid_token", "access-production- access-development- access-sandbox-", rb"[0-9a-f-]", 30),
    _row("readme_key", "rdme_", rb"[a-z0-9]", 40),
    _row("prefect_token", "pnu_", _ALNUM, 30),
    _row("sonarqube_token", "squ_ sqp_ sqa_", _HEX, 40),
    _row("snyk_token", "snyk_uat.", rb"[\w.-]", 20),
    _row("buildkite_token", "bkua_ bkaj_", _HEX, 30),
    _row("circleci_token", "CCIPAT_ CCIPRJ_", _WORD, 30),
    _row("harness_key", "pat. sat.", rb"[\w-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}"),
    _row("openshift_token", "sha256~", _WORD, 40),
    _row("infracost_key", "ico-", rb"[A-Za-z0-9]{32}\b"),
    _row("frameio_token", "fio-u-", rb"[\w=-]", 40),
    _row("adobe_secret", "p8e-", rb"[A-Za-z0-9_-]", 30),
    _row("dropbox_token", "sl.", rb"(?:u\.)?[\w-]{100,}"),
    _row("settlemint_token", "sm_aat_ sm_pat_ sm_sat_", _ALNUM, 16),
    _row("discord_token", "mfa.", rb"[\w-]{60,}"),
    _row("langsmith_key", "lsv2_pt_ lsv2_sk_", _WORD, 30),
    _row("weights_and_biases_key", "wandb_v1_", _WORD, 30),
    _row("posthog_key", "phx_", _ALNUM, 30),
    _row("mapbox_token", "sk.eyJ", rb"[\w.-]", 40),
    # https://developers.arcgis.com/documentation/security-and-authentication/api-key-authentication/
    _row("arcgis_key", "AAPK AAPT", rb"[\w.-]", 50),
    _row("zapier_webhook", "hooks.zapier.com/hooks/catch/", rb"[\w/]", 6),
)


URL_PASSWORD = "url_password"  # noqa: S105 - the label of such passwords, none itself
PRIVATE_KEY = "private_key"
LONGEST_KEY_BYTES = 16 * 1024
"""The most bytes that are searched for the end of a private key: one of 16,384 bits has 13 kB."""

# At the beginning of a word, or behind an escaped line break or a character that is quoted in a URL.
_APART = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"


class Shape(NamedTuple):
    """One kind of secret that is known by its form.

    Args:
        label: Its name, by which it can be switched off.
        triggers: Texts in lower case; every secret of this kind begins with one of them.
        pattern: The form, from the trigger on. Where it has a group ``v``, only that group is replaced.
        fits: Whether what the pattern found is such a secret; None accepts everything.
    """

    label: str
    triggers: tuple[bytes, ...]
    pattern: bytes
    fits: Callable[[bytes], bool] | None = None

    def find(self, data: bytes, at: int) -> Span | None:
        """Return the secret that begins with a trigger, or None.

        Args:
            data: The bytes.
            at: Where the trigger begins.
        """
        match = _compiled(self.pattern).match(data, at)
        if match is None:
            return None
        start, end = match.span("v" if "v" in match.re.groupindex else 0)
        if self.fits is not None and not self.fits(data[start:end]):
            return None
        return Span(start, end, self.label, at)


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


def _is_user_and_password(value: bytes) -> bool:
    """Return whether a text is base64 of ``user:password``, as in HTTP's Basic scheme."""
    import base64

    try:
        return b":" in base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:
        return False


def _is_base64(value: bytes) -> bool:
    """Return whether a text decodes from base64 to two bytes or more, and is not the name of a login method."""
    import base64

    if value.upper() in (b"PLAIN", b"LOGIN", b"NTLM", b"GSSAPI", b"CRAM", b"XOAUTH2", b"OAUTHBEARER", b"EXTERNAL"):
        return False
    try:
        return len(base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)) > 1
    except ValueError:
        return False


def _is_no_scheme(value: bytes) -> bool:
    """Return whether a text is not the name of a login method, which may follow AUTH in SMTP."""
    return value.upper() not in (b"PLAIN", b"LOGIN", b"NTLM", b"GSSAPI", b"CRAM-MD5", b"XOAUTH2", b"TLS", b"SSL")


def _has_long_run(value: bytes) -> bool:
    """Return whether a text has twenty letters and digits in a row: words joined by hyphens have not."""
    return re.search(rb"[A-Za-z0-9]{20}", value) is not None


# Where the vendors document the form of their tokens:
# https://docs.slack.dev/authentication/tokens, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html,
# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github,
# https://docs.stripe.com/keys, https://docs.gitlab.com/security/tokens/, https://www.rfc-editor.org/rfc/rfc7519
SHAPES = (
    Shape("authorization", (b"bearer",), rb"(?i:bearer)(?: |%20|\+)+(?P<v>[\w.~+/=-]{6,})", looks_random),
    Shape("authorization", (b"basic",), rb"(?i:basic)(?: |%20)+(?P<v>[A-Za-z0-9+/]{8,}={0,2})", _is_user_and_password),
    Shape("sendgrid_api_key", (b"sg.",), rb"SG\.[\w-]{16,32}\.[\w-]{32,64}"),
    Shape("aws_access_key_id", (b"akia", b"asia"), rb"A[KS]IA[A-Z0-9]{16}"),
    Shape("slack_token", (b"xox", b"xapp-"), rb"(?:xox[a-z](?:\.xox[a-z])?|xapp)-[\w-]{10,}"),
    Shape(
        "slack_webhook",
        (b"hooks.slack",),
        rb"(?i:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)(?P<v>[\w/-]{8,})",
    ),
    # HTTP clients log the host and the path separately.
    Shape("slack_webhook", (b"services/t",), rb"services/(?P<v>T[A-Z0-9]{6,16}/B[A-Z0-9]{6,16}/[A-Za-z0-9]{12,64})"),
    Shape("teams_webhook", (b"webhookb2/",), rb"(?i:webhookb2)/(?P<v>[\w@-]{8,}(?:/[\w@-]+)*)"),
    Shape("discord_webhook", (b"api/webhooks/",), rb"(?i:api/webhooks)/\d{5,}/(?P<v>[\w-]{16,})"),
    Shape("healthchecks_url", (b"hc-ping.com/",), rb"(?i:hc-ping\.com)/(?P<v>[\w-]{20,})"),
    Shape("telegram_token", (b":aa",), rb"(?<=\d{6}):(?P<v>AA[\w-]{30,})"),
    Shape("jwt", (b"eyj",), rb"eyJ[\w-]{8,1024}+\.[\w-]{8,}(?:\.[\w-]+){0,3}"),
    Shape("github_token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), rb"gh[pousr]_[A-Za-z0-9_]{20,255}"),
    Shape("github_token", (b"github_pat_",), rb"github_pat_[A-Za-z0-9_]{20,255}"),
    Shape("google_api_key", (b"aiza",), rb"AIza[\w-]{35}"),
    Shape("google_oauth", (b"gocspx-", b"ya29."), _APART + rb"(?:GOCSPX-|ya29\.)[\w-]{20,}"),
    Shape(
        "stripe_key",
        (b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_"),
        _APART + rb"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",
    ),
    Shape("webhook_secret", (b"whsec_",), rb"whsec_[A-Za-z0-9+/=]{16,}"),
    Shape("openai_key", (b"sk-",), _APART + rb"sk-[\w-]{20,200}", _has_long_run),
    Shape("mailgun_key", (b"key-",), rb"(?<![\w-])key-[0-9a-f]{32}"),
    Shape("pypi_token", (b"pypi-",), rb"pypi-AgE[\w-]{20,}"),
    Shape("npm_token", (b"npm_",), rb"npm_[A-Za-z0-9]{36}"),
    Shape(
        "password",
        (b"identified ",),
        rb"""(?i:identified\s+(?:with\s+[\w'"]{1,40}\s+)?(?:by|as|using)\s+(?:values\s+|password\s+)?)"""
        rb"""(?:(?P<q>\\{0,16}['"]|&quot;|&\#(?:34|39|x27);)(?P<v>(?:(?!(?P=q))\S)+)(?=(?P=q)))""",
    ),
    # What stands in /etc/shadow and in files of htpasswd: https://man.archlinux.org/man/crypt.5
    Shape(
        "password",
        (b"$1$", b"$2a$", b"$2b$", b"$2y$", b"$5$", b"$6$", b"$7$", b"$y$", b"$apr1$", b"$argon2", b"$scrypt$"),
        rb"""\$(?:[12567y]|2[aby]|apr1|argon2(?:id?|d)|scrypt)\$[\w./$=,+-]{16,}""",
    ),
    Shape("password", (b"pbkdf2_sha", b"pbkdf2:sha"), rb"pbkdf2[_:]sha\d{1,3}[:$]\d{1,8}\$[\w./+=-]+\$[\w./+=-]{16,}"),
    Shape(
        "password", (b"{ssha", b"{sha", b"{smd5}", b"{crypt}"), rb"\{(?:S?SHA\d*|SMD5|CRYPT)\}(?P<v>[\w./+=$-]{16,})"
    ),
    # What SMTP, IMAP and POP clients print: https://www.rfc-editor.org/rfc/rfc4954, https://www.rfc-editor.org/rfc/rfc9051
    Shape(
        "authorization",
        (b"auth plain", b"auth login", b"auth xoauth2", b"auth oauthbearer", b"authenticate "),
        rb"(?i:auth(?:enticate)? (?:plain|login|xoauth2|oauthbearer)) (?P<v>[A-Za-z0-9+/]{3,}={0,2})(?=\\|['\"\s]|\Z)",
        _is_base64,
    ),
    # The answer to the question for a password, which is Password: in base64
    Shape(
        "authorization",
        (b"ugfzc3dvcmq6",),
        rb"UGFzc3dvcmQ6(?:(?!UGFzc3dvcmQ6)[^\0]){0,200}?(?:send: [bru]?['\"]|[\r\n]+(?:[<>-]{0,3}|[CS]:|=>|>>>)[ ]?)"
        rb"(?P<v>(?!\d{3}[ -])[A-Za-z0-9+/]{3,}={0,2})(?=\\[rn]|['\"\r\n]|\Z)",
    ),
    Shape(
        "password",
        (b" login ",),
        rb"(?<=\d) (?i:login) (?:\"[^\"\r\n]*\"|[^\s\"]{1,100}) (?P<q>\\?\"?)(?P<v>(?:"
        + MARKER
        + rb"|[^\s\"\\])+)(?P=q)(?=\\[rn]|['\"\r\n]|\s*\Z)",
    ),
    Shape(
        "password",
        (b"'pass ", b"> pass ", b": pass "),
        rb"(?:'|> |: )PASS (?P<v>(?:" + MARKER + rb"|[^\s'\\])+)(?=\\[rn]|'|[\r\n]|\Z)",
    ),
    Shape(
        "password",
        (b"\npass ",),
        rb"\nPASS (?P<v>(?:" + MARKER + rb"|\S)+)[ \t]*\r?\n(?=\d{3}[ -]|[<>-])",
    ),
    Shape(
        "password",
        (b"> auth ",),
        rb"> (?i:auth) (?:[\w.-]{1,60} )?(?P<v>(?:" + MARKER + rb"|[^\s])+)(?=[ \t]*(?:[\r\n]|\Z))",
        _is_no_scheme,
    ),
    # Windows
    Shape(
        "password",
        (b"convertto-securestring ",),
        rb"""(?i:convertto-securestring)\ (?:-(?i:string)\ )?(?P<q>["']?)(?P<v>(?!-)(?:"""
        + MARKER
        + rb"""|(?!(?P=q)(?:\s|\Z|\)))[^\s$(])+)""",
    ),
    Shape(
        "password",
        (b"net use ",),
        rb"(?i:net use )(?:\S{1,3} )?\\{2,4}\S{1,200} (?P<v>(?![/*])(?:" + MARKER + rb"|\S)+)(?=\s+/(?i:user):)",
    ),
    Shape(
        "password",
        (b"net use ",),
        rb"(?i:net use )(?:\S{1,3} )?\\{2,4}\S{1,200} /(?i:user):\S{1,80} (?P<v>(?![/*])(?:" + MARKER + rb"|\S)+)",
    ),
    Shape(
        "password", (b"http-basic.",), rb"(?i:http-basic\.\S{1,60} \S{1,100} )(?P<v>(?:" + MARKER + rb"|[^\s-]\S*)+)"
    ),
    # Redis: https://redis.io/docs/latest/commands/hello/, https://redis.io/docs/latest/commands/acl-setuser/
    Shape(
        "password",
        (b"hello 2 auth ", b"hello 3 auth "),
        rb"(?i:hello [23] auth) \S{1,100} (?P<v>(?:" + MARKER + rb"|\S)+)",
    ),
    Shape("password", (b"acl setuser ",), rb"(?i:acl setuser) [^\r\n>]{1,200} >(?P<v>(?:" + MARKER + rb"|\S)+)"),
    Shape(
        "password",
        (b"b'login ", b'b"login '),
        rb"b['\"]LOGIN \\?\"[^\"\r\n]{1,100}\" \\?\"(?P<v>(?:" + MARKER + rb"|[^\s\"\\])+)(?=\\?\")",
    ),
    Shape("password", (b"ftp> user ",), rb"(?i:ftp> user) \S{1,100} (?P<v>(?:" + MARKER + rb"|\S)+)"),
    Shape(
        "password",
        (b"net user ",),
        rb"(?i:net user) \S{1,100} (?P<v>(?![/*])(?:" + MARKER + rb"|\S)+)(?=[ ]/(?i:add|domain))",
    ),
    # Cisco's configuration: the digit says how the password is written
    Shape(
        "password",
        (b"snmp-server community ", b"enable secret ", b"enable password "),
        rb"(?i:snmp-server community |enable (?:secret|password) [05-9] )(?P<v>(?:" + MARKER + rb"|\S)+)",
    ),
    Shape("token", (b"vault login ",), rb"vault login (?:-\S+ ){0,8}(?P<v>(?![-\[])[^\s=]{8,})(?!\S)"),
    # .pgpass: https://www.postgresql.org/docs/current/libpq-pgpass.html
    Shape(
        "password",
        (b":543", b":*:", b":6432:", b":6543:"),
        rb"(?<=[\w*\]])(?::(?:\d{4,5}|\*):[^\s:/]{1,64}:[^\s:/]{1,64}|:\*:[^\s:/]{1,64}(?::[^\s:/]{1,64})?):"
        rb"(?P<v>(?:" + MARKER + rb"|\\:|[^\s:])+)(?=[\r\n]|\Z|['\"])",
    ),
    # PuTTY's keys: https://tartarus.org/~simon/putty-snapshots/htmldoc/AppendixC.html
    Shape(
        "private_key",
        (b"private-lines:",),
        rb"(?i:private-lines: )\d{1,3}(?:\r?\n|\\n)(?P<v>(?:[A-Za-z0-9+/]{1,64}={0,2}(?:\r?\n|\\n|\Z)){1,300}?)"
        rb"(?=(?:Private-MAC|\Z)|[^A-Za-z0-9+/])",
    ),
    # Oracle's user/password@database, where it is known to be one: in a call or URL, or with a user that all have
    Shape(
        "password",
        (b"connect('", b'connect("', b":thin:", b":oci:"),
        rb"""(?i:connect\(["']|:(?:thin|oci):)[\w$\#.-]{1,60}/(?P<v>[^\s/@"'][^\s@"']{0,100})(?=@)""",
    ),
    Shape(
        "password",
        (b"scott/", b"system/", b"sys/", b"sysman/"),
        rb"""(?<![\w/.\\~-])(?i:scott|system|sys|sysman)/(?P<v>[^\s/@"'][^\s@"'/]{0,60})(?=@[\w/])""",
    ),
)
VENDOR_SHAPES = tuple(
    Shape(label, (prefix.lower().encode(),), _APART + re.escape(prefix.encode()) + rest)
    for label, prefixes, rest in VENDOR_TOKENS
    for prefix in prefixes
)
"""The shapes of tokens that have a prefix and, with it, at least 20 characters without a blank."""


# Private keys in PEM, the one kind of secret that spans several lines: https://www.rfc-editor.org/rfc/rfc7468

_BEGINNING = rb"-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,20}\Z"
_FRAME = rb"PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_NEXT = rb"-{4,5} ?(BEGIN|END) "
# Within one line, line breaks are escaped as \n. Lines may be indented or quoted.
_BREAK = rb"(?:\s|\\[nr]|[\"'>|,])"
_BODY = rb"(?:" + _BREAK + rb"*+[A-Za-z0-9+/]{16,}+={0,2})++(?:" + _BREAK + rb"++[A-Za-z0-9+/]{1,80}+={1,2})?"
_BLANK = rb"(?:\s|\\[nr])*+"
_RUN = rb"[A-Za-z0-9+/]{16}"
_LINE = rb"[ \t]*[A-Za-z0-9+/]{1,80}={0,2}[ \t]*\r?\n?"


def find_private_key(data: bytes, at: int, *, more: bool) -> Span | None:
    """Return the contents of a private key, between its BEGIN and END lines, or None.

    Where one of the lines is missing, as in a log that was cut, the lines that look like those of a key are returned.

    Args:
        data: The bytes.
        at: Where "PRIVATE KEY" is.
        more: Whether more bytes may follow ``data``.
    """
    frame = _compiled(_FRAME).match(data, at)
    if frame is None:
        return None
    beginning = _compiled(_BEGINNING).search(data, max(0, at - 40), at)
    if beginning is None:
        return None
    if beginning[1] == b"END":
        return _key_above(data, beginning.start())
    return _key_below(data, frame.end(), at, more=more)


def _key_below(data: bytes, start: int, origin: int, *, more: bool) -> Span | None:
    closing = _compiled(_NEXT).search(data, start, start + LONGEST_KEY_BYTES)
    if closing is None and more and len(data) < start + LONGEST_KEY_BYTES:
        return Span(start, len(data), PRIVATE_KEY, origin)
    if closing is not None and closing[1] == b"END":
        end = closing.start()
    else:
        body = _compiled(_BODY).match(data, start)
        end = body.end() if body is not None else start
    return _trimmed(data, start, end, origin)


def _key_above(data: bytes, end: int) -> Span | None:
    """Return the lines of a key above its END line; a complete key is found by its BEGIN line."""
    start = end
    while start > 0 and end - start < LONGEST_KEY_BYTES:
        line = data.rfind(b"\n", 0, start - 1) + 1
        if _compiled(_LINE).fullmatch(data, line, start) is None:
            break
        start = line
    return _trimmed(data, start, end, start)


def _trimmed(data: bytes, start: int, end: int, origin: int) -> Span | None:
    """Return the contents of a key without the line breaks around them, real or escaped; None if nothing is left."""
    blank = _compiled(_BLANK).match(data, start, end)
    start = blank.end() if blank is not None else start
    while start < end and (data[end - 1] in b" \t\r\n" or data[end - 2 : end] in (rb"\n", rb"\r")):
        end -= 1 if data[end - 1] in b" \t\r\n" else 2
    if start >= end or is_hidden(data[start:end]) or _compiled(_RUN).search(data, start, end) is None:
        return None
    return Span(start, end, PRIVATE_KEY, min(origin, start))


_IDENTIFIED = (
    rb"""(?i:identified\s+by\s+)(?P<v>(?![&\\'"(])(?:"""
    + MARKER
    + rb"""|[^\s;'"`])++)(?=;|\s+(?:[A-Z]|$)|\s*$|\\n|["'\])])"""
)
_MAKES_USER = (b"database link", b"create user", b"alter user", b"grant ", b"create role", b"alter role")


def find_identified(data: bytes, at: int) -> Span | None:
    """Return the password without quotes behind IDENTIFIED BY, or None.

    Without quotes, a sentence may follow: only after a statement that makes or changes a user.

    Args:
        data: The bytes.
        at: Where "identified" begins.
    """
    secret = _compiled(_IDENTIFIED).match(data, at)
    if secret is None:
        return None
    statement = re.split(rb"[;\r\n]", data[max(0, at - 230) : at])[-1].lower()
    starts = [start for each in _MAKES_USER if (start := statement.rfind(each)) >= 0]
    return Span(*secret.span("v"), "password", at - len(statement) + min(starts)) if starts else None


_EASY_CONNECT = rb"""(?:^|[\s"'=(])[\w$\#.-]{1,60}/(?P<v>"[^"]+"|[^\s/@"']{1,100})\Z"""


def find_easy_connect(data: bytes, at: int) -> Span | None:
    """Return the password in Oracle's ``user/password@//host:1521/service``, or None.

    Args:
        data: The bytes.
        at: Where "@//" is.
    """
    begin = max(0, at - 170)
    login = _compiled(_EASY_CONNECT).search(data[begin:at])
    if login is None or is_hidden(login["v"]):
        return None
    return Span(begin + login.start("v"), at, "password", begin + login.start())


_LONGEST_PASSWORD_BYTES = 2048
_USER_BEFORE_PASSWORD = rb"""://[^\s/:@?#"'<>\[\]{}(),;\\]{0,256}:(?=[^\s/])"""
# A password may contain "@", "/" and "#"; they should be quoted in a URL, but often are not.
_REST = rb"""(?:""" + MARKER + rb"""|[^\s"'<>\\?]|\\(?![nrt"']))++"""
_PORT = rb"\d{1,5}(?:[/?#,;)\]}]|$)"
_HOST = rb"(?!sha256:)[\w\[.%-]"


def find_url_password(data: bytes, at: int) -> Span | None:
    """Return the password in ``scheme://user:password@host``, up to the last "@" before a blank or a query, or None.

    Args:
        data: The bytes.
        at: Where "://" is.
    """
    head = _compiled(_USER_BEFORE_PASSWORD).match(data, at)
    if head is None:
        return None
    next_url = data.find(b"://", head.end(), head.end() + _LONGEST_PASSWORD_BYTES)
    rest = _compiled(_REST).match(data, head.end(), next_url if next_url >= 0 else head.end() + _LONGEST_PASSWORD_BYTES)
    if rest is None or _compiled(_PORT).match(rest[0]):
        return None
    start, end = rest.span()
    while (end := data.rfind(b"@", start, end)) > start:
        if _compiled(_HOST).match(data, end + 1):
            return None if is_hidden(data[start:end]) else Span(start, end, URL_PASSWORD, at)
    return None
