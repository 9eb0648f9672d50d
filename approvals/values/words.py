"""A digest that two people can read to each other: six hexadecimal digits and three words."""

WORDS = tuple(
    """
acorn agate alder almond alpine amber anchor apple apron arbor arrow ash aspen atlas autumn badger
bakery balcony bamboo banjo barley barrel basil basket beacon beaver bell berry birch bison blanket bonnet
border bottle boulder branch bread breeze brick bridge bronze brook brush bucket buffalo button cabin cactus
camel canal candle canoe canvas canyon carbon cargo carpet castle cedar cello cellar chalk channel cherry
chestnut cider cinder citrus clay cliff clover coast cobalt cocoa comet compass copper coral cotton cradle
crane creek cricket crystal curtain cypress daisy dawn delta desert diamond dolphin domino dragon drum dune
eagle easel echo elbow elder elm ember emerald engine falcon feather fennel fern ferry fiddle fig
finch fjord flannel flint flute forest fossil fountain fox galaxy garden garlic garnet geyser ginger glacier
glove goblet granite grape gravel grove guitar gull hammer hammock harbor harp hazel heather hedge helmet
heron hickory hollow honey horizon hornet ice iris island ivory jacket jade jaguar jasmine jetty jewel
jigsaw juniper kayak kernel kettle kite ladder lagoon lantern larch lark laurel lava lemon lentil lily
linen lizard lobster locket lotus lumber magnet mango maple marble meadow melon meteor mill mint mirror
mitten moss mosaic mountain mulberry mustard nectar needle nettle nickel nutmeg oak oasis oat ocean olive
onyx opal orbit orchard orchid otter owl oyster paddle palm panther parsley pasture peach pearl pebble
pelican pepper pewter piano pigeon pine planet plum poplar poppy prairie prism pumpkin quail quarry quartz
quilt rabbit radish raft raven reed ribbon ridge river robin rocket rose ruby saddle saffron salmon
""".split()  # noqa: SIM905 - a grid of words is easier to check than 256 quoted strings
)


def digest_words(digest: str) -> str:
    """Return a short name of a SHA-256 digest (64 hexadecimal digits), such as `9f27ac copper-lantern-ridge`.

    The digits are the first three bytes, the words the next three: 48 bits in all. It is for reading aloud; what is
    compared is always the whole digest. Raises ValueError when `digest` is not hexadecimal or too short.
    """
    raw = bytes.fromhex(digest)
    if len(raw) < 6:
        raise ValueError("a digest has at least six bytes")
    return f"{raw[:3].hex()} {'-'.join(WORDS[byte] for byte in raw[3:6])}"
