"""`caudal verify gcp`: what only a real project in Google Cloud can prove, tried there with Caudal's own code.

`steps` runs steps and says how each ended, `ground` makes the place where they are and removes it, `loading`, `publishing` and
`limits` are the steps. Nothing of an environment that people use is read or written, and nothing stays.
"""
