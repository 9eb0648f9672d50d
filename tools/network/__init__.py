"""The way out: addresses that may be asked, requests that reach exactly those, and answers that are bounded."""
