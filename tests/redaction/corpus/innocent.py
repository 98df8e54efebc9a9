"""Lines without a secret, most of them with a word that looks like the name of one: they stay as they are."""

LINES = [
    # a word that only contains a key, and names of what is about a secret
    *("auth=OAuth2", "auth=none", "auth: basic", "auth_type=ldap", "auth_method: OAuth2", "authenticated=true"),
    *("password_resets=12", "expired_passwords=3", "passwords_changed: 14", "password_length=12", "passwords=3"),
    *("token_count=512", "tokens_used: 1204", "max_tokens=4096", "prompt_tokens=12", "total_tokens: 3411"),
    *("next_page_token=", "secret_count=2", "secrets: 4", "keys=12", "api_keys=3", "key_count: 3", "cookies: 3"),
    *("login_failures=2", "token_expired=True", "has_password=True", "password_required: false", "use_auth=no"),
    *("monkey=banana", "keyboard_layout=us", "turkey: 12", "donkey=4", "hockey=1", "passenger=12", "compass=north"),
    *("bypass=true", "passage: 12", "author=Jane Doe", "authority=county", "authored_by: jane", "credits=12"),
    *("credit_limit: 500", "secretary=Jane", "tokenizer=bert-base", "cookie_policy=strict", "sessions=14"),
    *("signature_version=4", "key_size=2048", "foreign_key=parcel_id", "primary_key: id", "sort_key=name"),
    *("partition_key: county", "public_key=abc.pub", "cache_key=parcels-12", "key=apn", "keyid=7"),
    # page tokens of list APIs
    *("nextPageToken: CAUQAA", "next_page_token=CiAKGjBpNDd2Nmp2Zml2cXRwYjBpOXA", "pageToken=CAoQAA"),
    *(
        '{"nextToken": "AAMA-EFRSURBSGtleQ9fa1"}',
        "continuation_token=MTIzNDU2Nzg5",
        "NextContinuationToken: 1ueGcxLPRx1Tr",
    ),
    *("sync_token=CPDAlvWDx70CEPDAlvWDx70CGAU", "nextSyncToken: CPDAlvWDx70C", "resumption_token=abc123def4"),
    *("cursor=eyJpZCI6MTJ9", "startingToken: eyJNYXJrZXIiOiBudWxsfQ"),
    # words, numbers and booleans behind the name of a secret
    *("token=3", "token: 17", "secret=true", "token=false", "password=None", "api_key: null", "secret: no"),
    *("password: ********", "password=<hidden>", "token=[redacted]", "token=${TOKEN}", "password={{ vault }}"),
    *("password=''", 'token: ""', "session=nightly", "session: 12", "signature=v2", "session closed"),
    *("Password:", "password: required", "Invalid password", "Enter password: ", "Password changed for user me"),
    *("no password given", "the password is wrong", "wrong password for me", "password expired 3 days ago"),
    # things that look like tokens
    *("disk_live_123", "disk_live_1234567890", "risk_test_2026013123", "task-management-2026-parcels-report-final"),
    *("desk-2026013112345678901234", "flask-2026013112345678901234", "SKU12345", "SKIPPED 3 of 12", "half_life=3"),
    *("shelf_12", "dapink", "npm_config_cache=/tmp/x", "pypi-mirror", "hf_hub_offline=1", "hf_home=/srv/models"),
    *("commit 6c522ec0a8f29ba91b7c3a1c5e6f3f8b9d0e1a2b", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c"),
    *("id 123e4567-e89b-12d3-a456-426614174000", 'etag: "33a64df551425fcc55e4d42a148795d9f25f89d4"'),
    *("arn:aws:iam::123456789012:role/Reader", "s3://bucket/key/2026/01/31", "POST /oauth/token HTTP/1.1 200"),
    # what only looks like a command line, a file or SQL
    *("mkdir -p /srv/data/parcels", "cp -p a b", "ssh -p 2222 me@host", "ps -u me", "sort -u names.txt", "id -u"),
    *(
        "docker run -p 8080:80 nginx",
        "docker run -u 1000:1000 nginx",
        "rsync -u a b",
        "tar -p -xf a.tar",
        "grep -w parcel",
    ),
    *(
        "git push -u origin main",
        "journalctl -u nginx",
        "du -a /srv",
        "wc -w a.txt",
        "ruff check -w",
        "nmap -p 22 host",
    ),
    *("10.0.0.7:5432: connection refused", "db:5432:parcels: 12 rows", "12:30:45:123: done", "a:b:c:d", "2026:01:31"),
    *("SELECT name, password_hash_age FROM users", "INSERT INTO parcels (apn, county) VALUES ('12', 'Cache')"),
    *(
        "SELECT count(*) FROM tokens",
        "DROP TABLE passwords",
        "UPDATE parcels SET county = 'Cache'",
        "PASS: 12, FAIL: 0",
    ),
    *(
        "PASS test_load",
        "tests/a.py PASS 0.3s",
        "AUTH LOGIN PLAIN CRAM-MD5",
        "250-AUTH LOGIN PLAIN",
        "250 AUTH PLAIN LOGIN",
    ),
    *("machine learning model login page", "on this machine the login works", "the default login is disabled"),
    *("identified by its parcel number", "Parcels are identified by APN", "owner/parcel@2026", "n/a@here", "1/2@3"),
    *("packages/core@1.2.3", "@types/node@20.1.0", "actions/checkout@v4", "user/repo@main", "a/b@c.org"),
    # name and value that are no secret, next to each other
    *(
        '{"name": "DB_HOST", "value": "db.example.com"}',
        "- name: LOG_LEVEL\n  value: debug\n",
        "name=county value=Cache",
    ),
    *('{"name": "PASSWORD_FILE", "value": "/run/secrets/db"}', '<add key="Timeout" value="30"/>', "| name | value |"),
    *('<input type="password" name="pw">', "<label>Password</label>", "| password | string | required |", "user\tme"),
    *("password\trequired", "token  expired", "password  must be changed", "key\tvalue", "tokens\t512", "secret\tno"),
    *("password:\n  required: true\n  type: string\n", "token:\n\nnext line", "secret:\n  name: db\n"),
    # colours and characters
    *(
        "\x1b[36mcounty\x1b[0m=\x1b[35mCache\x1b[0m",
        "\x1b[32mpassword\x1b[0m: required",
        "\x1b[1mtokens\x1b[0m=\x1b[35m512\x1b[0m",
    ),
    *(
        "\x1b[36mauth\x1b[0m=\x1b[35mOAuth2\x1b[0m",
        "日本語のパスワード",
        "\uff50\uff41\uff53\uff53 12",
        "naïve=yes",
        "clé: 12",
    ),
    # code
    *(
        "password = getpass.getpass()",
        "def login(user, password):",
        "token = response.json()['token']",
        "if not token:",
    ),
    *("raise ValueError('password missing')", "self.session = session", "auth = HTTPBasicAuth(user, password)"),
    *("KeyError: 'token'", "key, value = line.split('=')", "for key in keys:", "return self._token", "password: str"),
    *('os.environ["DB_PASSWORD"]', "login(user, password)", "os.getenv('TOKEN')", "token: Optional[str] = None"),
]

# Values of ``run.record`` that stay, by their name.
VALUES = {
    "session": "nightly",
    "signature": "v2",
    "auth": "OAuth2",
    "password_resets": 12,
    "expired_passwords": 3,
    "passwords": 4,
    "passwords_changed": "12 of 40",
    "token_count": 512,
    "tokens": 12,
    "token": 5,
    "has_password": True,
    "password_ok": True,
    "password": False,
    "next_page_token": "CAUQAA",
    "secret": None,
    "auth_method": "basic",
    "cookies": 3,
    "key": "apn",
    "monkeys": "12",
}
