r"""Files that hold secrets, as they come into logs by ``cat`` and by dumps. ``@@`` is where a secret is planted."""

SHAPES = [
    # .netrc, in one line and in several
    "machine example.com login me password @@",
    "machine example.com\n  login me\n  password @@\n",
    "machine example.com\nlogin me\npassword @@\nmachine other.org\n",
    "machine ftp.example.com login me account a password @@",
    "default login anonymous password @@",
    # .pgpass
    "db.example.com:5432:parcels:me:@@",
    "localhost:5432:*:postgres:@@",
    "*:*:*:me:@@",
    "10.0.0.7:5433:x:me:@@\n",
    # my.cnf
    "[client]\nuser=root\npassword=@@\n",
    '[client]\nuser = root\npassword = "@@"\n',
    "[mysqldump]\npassword=@@",
    # docker, npm, pip, git
    '{"auths": {"registry.example.com": {"auth": "bWU6aHVudGVyMg@@"}}}',
    '{"auths":{"https://index.docker.io/v1/":{"username":"me","password":"@@"}}}',
    '{"auths": {"r.example.com": {"identitytoken": "@@x1"}}}',
    "//registry.npmjs.org/:_authToken=@@x1",
    "//registry.npmjs.org/:_password=@@",
    "_auth=bWU6aHVudGVyMg@@",
    "index-url = https://me:@@@pypi.example.com/simple",
    "https://me:@@@github.com",
    "[server]\nrepository: https://x\nusername: me\npassword: @@\n",
    # one-time passwords
    "otpauth://totp/Example:me@example.com?secret=JBSWY3DPEHPK3P@@&issuer=Example",
    "otpauth://hotp/x?secret=@@&counter=1",
    # WireGuard
    "[Interface]\nPrivateKey = @@aGVsbG8gd29ybGQ=\nAddress = 10.0.0.2/32\n",
    "PresharedKey = @@aGVsbG8gd29ybGQ=",
    # shadow, htpasswd, wpa_supplicant, NetworkManager
    "me:$6$saltsalt$@@abcdefghijklmnopqrstuvwxyz0123456789:19700:0:99999:7:::",
    "me:$apr1$r31x$@@abcdefghijklm",
    "me:$2y$05$@@abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ",
    'network={\n  ssid="x"\n  psk="@@"\n}',
    "psk=@@\nkey-mgmt=wpa-psk",
    # SQL
    "CREATE USER me IDENTIFIED BY '@@';",
    "CREATE USER me IDENTIFIED BY @@;",
    'ALTER USER scott IDENTIFIED BY "@@" ACCOUNT UNLOCK',
    "ALTER USER scott IDENTIFIED BY @@ REPLACE old1",
    "CREATE USER 'me'@'%' IDENTIFIED WITH mysql_native_password BY '@@';",
    "GRANT ALL ON *.* TO me@localhost IDENTIFIED BY '@@' WITH GRANT OPTION",
    "ALTER ROLE me WITH LOGIN PASSWORD '@@';",
    "CREATE ROLE me ENCRYPTED PASSWORD '@@'",
    "CREATE LOGIN me WITH PASSWORD = '@@'",
    "CREATE LOGIN me WITH PASSWORD = N'@@', CHECK_POLICY = OFF",
    "SET PASSWORD FOR 'me'@'%' = PASSWORD('@@');",
    "SET PASSWORD FOR me = '@@'",
    "UPDATE users SET password = '@@' WHERE id = 1",
    "UPDATE users SET name='a', password='@@', age=3",
    "SELECT * FROM users WHERE name = 'me' AND password = '@@'",
    "INSERT INTO users (name, password) VALUES ('me', '@@')",
    "INSERT INTO users (name, password, email) VALUES ('me', '@@', 'me@example.com');",
    'INSERT INTO "users" ("id", "name", "api_key") VALUES (1, \'me\', \'@@\')',
    "insert into users(id,password) values(1,'@@')",
    "INSERT INTO users (name, password) VALUES ('a', 'first1Xy'), ('b', '@@')",
    "[SQL: INSERT INTO users (name, password) VALUES ('it''s', '@@')]",
    "[SQL: INSERT INTO users (name, password) VALUES (?, ?)]\n[parameters: ('me', '@@')]",
    "[SQL: INSERT INTO users (name, password) VALUES (%(name)s, %(password)s)]\n[parameters: {'name': 'me', 'password': '@@'}]",
    "COPY credentials: password '@@'",
    "CONNECT scott/@@@orcl",
    "conn system/@@@//db:1521/pdb as sysdba",
    "scott/@@@db",
    # cloud credentials
    "[default]\naws_access_key_id = x\naws_secret_access_key = @@\n",
    '"SecretAccessKey": "@@",',
    '"SecretString": "{\\"username\\":\\"me\\",\\"password\\":\\"@@\\"}"',
    '"private_key_id": "x", "client_secret": "@@"',
    "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=@@==;EndpointSuffix=core.windows.net",
    "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=@@=",
    "https://x.blob.core.windows.net/c/a.csv?sv=2022-11-02&se=2026&sr=b&sp=r&sig=@@%3D",
    "data:\n  password: @@\nkind: Secret\n",
    "stringData:\n  db-password: @@\n",
    "subscription-key: @@x1",
    "Ocp-Apim-Subscription-Key: @@x1",
    "DJANGO_SECRET_KEY='@@x1'",
    "SECRET_KEY = 'django-insecure-@@'",
    "JWT_SECRET=@@",
    "ENCRYPTION_KEY=@@x1",
]

WHOLE = [
    # PuTTY: the private lines follow their count; the public ones stay
    (
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 1\nAAAAC3NzaC1lZDI1NTE5AAAAIHh4\n"
        "Private-Lines: 1\nAAAAIKx8Zc7bTq0mR2vN5wY1pL9dF3gH6jS4aQ8eU2iO\nPrivate-MAC: 9f8e7d6c5b4a39281706f5e4d3c2b1a0\n",
        ("AAAAIKx8Zc7bTq0mR2vN5wY1pL9dF3gH6jS4aQ8eU2iO",),
    ),
    (
        "Private-Lines: 2\nAAAAIKx8Zc7bTq0mR2vN5wY1pL9dF3gH6jS4aQ8eU2iOAAAAIKx8Zc7bTq0mR2vN\n5wY1pL9dF3gH6jS4aQ8eU2iO\n"
        "Private-MAC: 9f8e\n",
        ("Kx8Zc7bTq0mR2vN5wY1pL9dF3gH6jS4aQ8eU2iO", "5wY1pL9dF3gH6jS4aQ8eU2iO"),
    ),
]
