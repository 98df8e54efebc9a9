"""A token for each prefix of a vendor: the prefix, and what follows. They are joined only in the test."""

HEX = "9f8e7d6c5b4a39281706f5e4d3c2b1a0" * 4
ALNUM = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG" * 5
UPPER = "AB3DE6GH9JK2MN5PQ8ST1VW4YZ7BC0FG" * 3

HEXADECIMAL = (
    "shpat_ shpca_ shppa_ shpss_ shpua_ shptka_ shprt_ dop_v1_ doo_v1_ dor_v1_ rubygems_ PMAK- pat-na1- pat-na2- pat-eu1- "
    "pul- shippo_live_ shippo_test_ access_token$production$ access_token$sandbox$ access-production- access-development- "
    "access-sandbox- rdme_ squ_ sqp_ sqa_ bkua_ bkaj_"
)
LETTERS = (
    "hvs. hvb. hvr. hf_ api_org_ ATATT3 ATCTT3 ATBB glpat- gldt- glrt- glrtr- glptt- glft- glimt- glffct- glsoat- glwt- "
    "glagent- gloas- glcbt- _gitlab_session= GR1348941 sk-ant- pplx- gsk_ xai- r8_ 1//0 AQ.Ab8 EAAC EAAM EAAB EAAG sq0atp- "
    "sq0csp- sq0idp- EAAAE EAAAF CLOJARS_ dckr_pat_ dckr_oat_ lin_api_ lin_oauth_ ntn_ figd_ PMAT- CFPAT- tfp_ "
    "glsa_ glc_ NRAK- NRII- NRJS- NRRA- sntrys_ sntryu_ sntrya_ sgp_ hcaik_ hcamk_ .atlasv1. fo1_ fm1r_ fm1a_ fm2_ "
    "HRKU- nfp_ nfo_ nfc_ nfu_ nfb_ vcp_ vci_ vca_ vcr_ vck_ rnd_ pscale_tkn_ pscale_oauth_ pscale_pw_ sbp_ sb_secret_ napi_ "
    "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit. ops_eyJ tskey- cfut_ cfat_ cfk_ ABSK bedrock-api-key- xkeysib- xsmtpsib- "
    "duffel_test_ duffel_live_ FLWSECK_TEST- FLWSECK- pnu_ snyk_uat. CCIPAT_ CCIPRJ_ sha256~ fio-u- p8e- sl. "
    "sm_aat_ sm_pat_ sm_sat_ mfa. lsv2_pt_ lsv2_sk_ wandb_v1_ phx_ sk.eyJ AAPK AAPT hooks.zapier.com/hooks/catch/"
)
# What follows has a form of its own.
OF_OTHER_FORM = {
    "dapi": HEX[:32],
    "pul-": HEX[:40],
    **{f"SK{digit}": HEX[:31] for digit in "0123456789abcdef"},
    "AGE-SECRET-KEY-1": UPPER[:58],
    "AGE-SECRET-KEY-PQ-1": UPPER[:58],
    "oy2": ALNUM[:43].lower(),
    "cio": ALNUM[:32],
    "AKCp": ALNUM[:69],
    "cmVmdGtuO": ALNUM[:55],
    "secret_": ALNUM[:43],
    **dict.fromkeys(("dt0c01.", "dt0s01.", "dt0s16."), f"{UPPER[:24]}.{UPPER[:64]}"),
    "A3-": "AB3DE6-GH9JK2-MN5PQ-8ST1V-W4YZ7-BC0FG",
    "v1.0-": f"{HEX[:24]}-{HEX[:120]}",
    "LTAI": ALNUM[:20],
    "AKID": ALNUM[:32],
    "ABIA": UPPER[:16],
    "ACCA": UPPER[:16],
    "EZAK": ALNUM[:54],
    "EZTK": ALNUM[:54],
    "AQE": f"{ALNUM[:20]}+{ALNUM[:40]}",
    "pat.": f"{ALNUM[:22]}.{ALNUM[:24]}.{ALNUM[:20]}",
    "sat.": f"{ALNUM[:22]}.{ALNUM[:24]}.{ALNUM[:20]}",
    "ico-": ALNUM[:32],
}
TOKENS = {
    **dict.fromkeys(HEXADECIMAL.split(), HEX[:64]),
    **dict.fromkeys(LETTERS.split(), ALNUM[:110]),
    **OF_OTHER_FORM,
}
"""What follows each prefix."""
