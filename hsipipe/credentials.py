"""What may be secret in an address or a text, and both without it.

Addresses of servers come from the environment with users and passwords in them. Whatever shows, logs or stores an
address, or the text of an error that may hold one, passes it through here first.
"""

import re
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"
# scheme://user:password@ and scheme://token@. SQLAlchemy takes any password without an @, one with a slash too; but a
# number and a slash after the colon are a port, and an @ further on belongs to the path.
_USER = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^\s/?#'\"]*@|[^\s:/@]*:(?!\d{1,5}[/?#])[^\s@]*@)", flags=re.IGNORECASE
)
# In the query of an address, and in libpq's own form (host=... password=...).
_ITEM = re.compile(
    r"\b(?P<name>password|passwd|sslpassword|token|access_token|api_?key|secret|sig|signature|"
    r"x-amz-(?:signature|credential|security-token)|awsaccesskeyid)=[^\s&'\"]+",
    flags=re.IGNORECASE,
)


def public(url: str) -> str:
    """The address without what may be secret: user, password, query.

    Args:
        url: An address, or a path, which stays as it is.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def without_credentials(text: str) -> str:
    """A text in which the credentials of addresses are replaced by ``***``; the rest stays as it is.

    Args:
        text: An address or a message that may hold several, such as the text of an error of another library.
    """
    return _ITEM.sub(rf"\g<name>={HIDDEN}", _USER.sub(rf"\g<scheme>{HIDDEN}@", text))
