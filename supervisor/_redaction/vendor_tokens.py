"""The tokens of vendors that are known by their prefix.

Each row names the vendor's own page where it has one that shows the prefix. The others were compared with the lists
that are kept by GitHub (https://docs.github.com/en/code-security/reference/secret-security/supported-secret-scanning-patterns),
GitLab (https://docs.gitlab.com/security/tokens/) and the project gitleaks (https://github.com/gitleaks/gitleaks).
"""

from __future__ import annotations

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
    _row("figma_token", "figd_ figo_ figu_", _WORD, 20),
    _row("postman_key", "PMAK-", rb"[0-9a-f-]", 40),
    _row("postman_key", "PMAT-", _ALNUM, 20),
    _row("contentful_token", "CFPAT-", _WORD, 30),
    _row("typeform_token", "tfp_", rb"[\w.=-]", 40),
    _row("hubspot_token", "pat-na1- pat-na2- pat-eu1-", rb"[0-9a-f-]", 30),
    # https://grafana.com/docs/grafana/latest/administration/service-accounts/
    _row("grafana_token", "glsa_", _WORD, 30),
    _row("grafana_token", "glc_", rb"[A-Za-z0-9+/=]", 32),
    # https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/
    _row("newrelic_key", "NRAK- NRII- NRJS- NRAL- NRRA-", _WORD, 16),
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
    _row("netlify_token", "nfp_ nfo_ nfc_", _ALNUM, 30),
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
    _row("azure_devops_token", "AZDO", rb"[A-Za-z0-9]", 30),
    _row("brevo_key", "xkeysib- xsmtpsib-", rb"[0-9A-Za-z-]", 40),
    _row("duffel_token", "duffel_test_ duffel_live_", rb"[\w=-]", 30),
    _row("easypost_key", "EZAK EZTK", rb"[A-Za-z0-9]{54}\b"),
    _row("shippo_token", "shippo_live_ shippo_test_", _HEX, 32),
    _row("flutterwave_key", "FLWSECK_TEST- FLWSECK-", _ALNUM, 12),
    _row("paystack_key", "pk_sk_", _ALNUM, 30),
    _row("paypal_token", "access_token$production$ access_token$sandbox$", rb"[0-9a-z$]", 30),
    _row("adyen_key", "AQE", rb"[A-Za-z0-9+/=.]{6,}[+/=][A-Za-z0-9+/=.\-]{20,}"),
    _row("plaid_token", "access-production- access-development- access-sandbox-", rb"[0-9a-f-]", 30),
    _row("readme_key", "rdme_", rb"[a-z0-9]", 40),
    _row("prefect_token", "pnu_ pnb_", _ALNUM, 30),
    _row("sonarqube_token", "squ_ sqp_ sqa_", _HEX, 40),
    _row("snyk_token", "snyk_", rb"[\w.-]", 30),
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
    _row("arcgis_key", "AAPK AAPT AATK", rb"[\w.-]", 50),
    _row("gitea_token", "gta_", _ALNUM, 30),
    _row("zapier_webhook", "hooks.zapier.com/hooks/catch/", rb"[\w/]", 6),
)
