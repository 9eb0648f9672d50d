"""How long records are kept, what is held back from that, and the only thing that ever removes any of them."""
