"""Money is an integer of minor units and an ISO 4217 code; what models and tools cost, of millionths of a US dollar."""

from collections.abc import Iterable

_NO_MINOR_UNIT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_HUNDREDTHS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV "
    "MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD "
    "SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
)
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
_TEN_THOUSANDTHS = "CLF UYW"

_EXPONENTS = {
    code: exponent
    for codes, exponent in ((_NO_MINOR_UNIT, 0), (_HUNDREDTHS, 2), (_THOUSANDTHS, 3), (_TEN_THOUSANDTHS, 4))
    for code in codes.split()
}


def currency_exponent(currency: str) -> int:
    """Return how many decimal digits the minor unit of an ISO 4217 code has; raise ValueError for any other code."""
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise ValueError(f"Unknown currency code: {currency[:8]!a}.") from None


def format_money(minor: int, currency: str) -> str:
    """Print an amount of minor units, for example `EUR 1,240.00`; raise ValueError for an unknown code."""
    exponent = currency_exponent(currency)
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**exponent)
    decimals = f".{fraction:0{exponent}d}" if exponent else ""
    return f"{currency} {sign}{whole:,}{decimals}"


def in_currencies(minor: int, currencies: Iterable[str]) -> str:
    """Say one number of minor units in each of some currencies: `EUR 50.00 or JPY 5,000`.

    Without a currency, or in one that nobody knows, the number is said to be what it is.
    """
    said = [
        format_money(minor, code) if code in _EXPONENTS else f"{minor:,} minor units of {code}" for code in currencies
    ]
    return " or ".join(said) or f"{minor:,} minor units, such as cents, of any currency"


def format_micros(micros: int) -> str:
    """Print millionths of a US dollar, with as many decimals as it takes: `USD 12.50`, `USD 0.000120`."""
    sign = "-" if micros < 0 else ""
    whole, fraction = divmod(abs(micros), 1_000_000)
    decimals = f"{fraction:06d}"
    return f"USD {sign}{whole:,}.{decimals if fraction % 10_000 else decimals[:2]}"
