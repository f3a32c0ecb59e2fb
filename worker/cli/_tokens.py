"""A device's token as people may see it: enough to know it by, and never the whole of it."""


def hint(token: str) -> str:
    """Both ends of a token; of a browser's the push service and the end, for who has the address may send to it."""
    scheme, separator, rest = token.partition("://")
    if separator:
        return f"{scheme}://{rest.partition('/')[0]}/…{token[-4:]}"
    return token if len(token) <= 12 else f"{token[:6]}…{token[-4:]}"
