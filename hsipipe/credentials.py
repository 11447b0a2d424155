"""Remove credentials from addresses and texts.

Server addresses from the environment may contain users and passwords. Pass every address, and every error text that may
contain one, through this module before it is shown, logged or stored.
"""

import re
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"
# scheme://user:password@ and scheme://token@. SQLAlchemy accepts any password without an @, even with a slash. But a
# number and a slash after the colon are a port, and a later @ belongs to the path.
_USER = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^\s/?#'\"]*@|[^\s:/@]*:(?!\d{1,5}[/?#])[^\s@]*@)", flags=re.IGNORECASE
)
# In the query of an address, and in libpq's keyword form (host=... password=...).
_ITEM = re.compile(
    r"\b(?P<name>password|passwd|sslpassword|token|access_token|api_?key|secret|sig|signature|"
    r"x-amz-(?:signature|credential|security-token)|awsaccesskeyid)=[^\s&'\"]+",
    flags=re.IGNORECASE,
)


def public(url: str) -> str:
    """Return an address without user, password and query.

    Args:
        url: Address, or a path, which is returned unchanged.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def without_credentials(text: str) -> str:
    """Replace the credentials of all addresses in a text by ``***``.

    Args:
        text: Address, or a message that may contain several, such as the error text of another library.
    """
    return _ITEM.sub(rf"\g<name>={HIDDEN}", _USER.sub(rf"\g<scheme>{HIDDEN}@", text))
