r"""Pairs in colours, as structlog, rich, pygments and shells write them: escape sequences stand within the pair.

``@@`` is where a secret is planted. Invisible characters and full-width letters hide a key in the same way.
"""

CYAN, MAGENTA, BLUE, RESET, BOLD, DIM, GREEN = (
    *("\x1b[36m", "\x1b[35m", "\x1b[34;01m", "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[38;5;28m"),
)
LINK = "\x1b]8;;https://example.com\x1b\\"

SHAPES = [
    # structlog's ConsoleRenderer, and its predecessor with bold
    f"{DIM}2026-01-31T02:00:00Z{RESET} [{GREEN}info{RESET}] {BOLD}login{RESET} {CYAN}password{RESET}={MAGENTA}@@{RESET}",
    f"{CYAN}user{RESET}={MAGENTA}me{RESET} {CYAN}api_key{RESET}={MAGENTA}@@{RESET} {CYAN}n{RESET}={MAGENTA}1{RESET}",
    f"{CYAN}token{RESET}={MAGENTA}'@@'{RESET}",
    # rich: keys bold, values green, equals in another colour
    f"{BOLD}password{RESET}{DIM}={RESET}{GREEN}@@{RESET}",
    f"{{{GREEN}'password'{RESET}: {GREEN}'@@'{RESET}, {GREEN}'port'{RESET}: {CYAN}5432{RESET}}}",
    "\x1b[33mclient_secret\x1b[0m=\x1b[32m'@@'\x1b[0m",
    # JSON by jq and pygments
    f'{{{BLUE}"password"{RESET}:{RESET} {GREEN}"@@"{RESET}}}',
    '\x1b[1;39m{\n  \x1b[0m\x1b[34;1m"token"\x1b[0m\x1b[1;39m:\x1b[0m \x1b[0;32m"@@"\x1b[0m\x1b[1;39m,\n',
    '\x1b[94m"db_password"\x1b[39;49;00m:\x1b[37m \x1b[39;49;00m\x1b[33m"@@"\x1b[39;49;00m\x1b[37m\x1b[39;49;00m',
    # YAML by pygments and bat
    "\x1b[38;2;249;38;114mdb_password\x1b[0m\x1b[38;2;248;248;242m:\x1b[0m \x1b[38;2;230;219;116m@@\x1b[0m",
    "\x1b[94mpassword\x1b[39;49;00m:\x1b[37m \x1b[39;49;00m@@\x1b[37m\x1b[39;49;00m\n",
    # escaped, as in JSON and in repr
    r"\x1b[36mpassword\x1b[0m=\x1b[35m@@\x1b[0m",
    r"\u001b[36mpassword\u001b[0m=\u001b[35m@@\u001b[0m",
    r"\033[36mpassword\033[0m=\033[35m@@\033[0m",
    # a key that is coloured in part, as grep shows what it found
    "export DB_\x1b[01;31m\x1b[Kpassword\x1b[m\x1b[K=@@",
    "\x1b[01;31m\x1b[KPASSWORD\x1b[m\x1b[K: @@",
    "\x1b[32m\x1b[Kconfig.ini\x1b[m\x1b[K\x1b[36m\x1b[K:\x1b[m\x1b[K\x1b[01;31m\x1b[Kpassword\x1b[m\x1b[K = @@",
    # headers
    f"{CYAN}Authorization{RESET}: {MAGENTA}Bearer @@x1{RESET}",
    f"{CYAN}X-Api-Key{RESET}{DIM}:{RESET} @@",
    "\x1b[36mAuthorization\x1b[39m: \x1b[33mBasic bWU6@@\x1b[39m",
    # options, URLs and links
    f"{GREEN}--password{RESET} {MAGENTA}@@{RESET}",
    f"{LINK}password{LINK}=@@",
    f"postgresql://me:{MAGENTA}@@{RESET}@db/x",
    # the whole pair in one colour, the line in another
    f"{MAGENTA}password=@@{RESET} done",
    f"{BOLD}password: {RESET}@@",
    # invisible and full-width characters within a key
    "pass\u200bword=@@",
    "password\u200b=\u200b@@",
    "pass\u00adword: @@",
    "\ufeffpassword=@@",
    "to\u2060ken=@@",
    "password\u00a0=\u00a0@@",
    "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44=@@",
    "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff1d@@",
    "password\uff1a@@",
    "pass\u200dword\u200e\uff1a @@",
]
