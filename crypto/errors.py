"""What can go wrong in this room. Everything is a `CryptoError`, which is a `ValueError`."""


class CryptoError(ValueError):
    """A key, share, box, signature or number is not what it has to be."""


class InvalidSignature(CryptoError):
    """The signature is not the key's over these parts."""


class OpenFailed(CryptoError):
    """The sealed box was not made with this key and this associated data."""


class SharingError(CryptoError):
    """The shares cannot be made, or do not give back a secret."""


class OutOfRange(CryptoError):
    """A number or a shape lies outside what was agreed: NaN, infinity, a wrong length, a sum no
    honest parties can have.
    """


class ConfigOverflow(CryptoError):
    """The ring cannot hold the sum that this configuration can produce."""

    exit_code = 2
