"""What may leave: final answers, and the arguments that a call carries out of the tenant. Pure.

`review.check` looks at one text, `policy.OutputPolicy` says what follows from what is found. The detectors (`secrets`,
`personal`, `links`, `claims`, `canary`) each return `found.Found`s; none of them keeps or shows what it has found.
"""
