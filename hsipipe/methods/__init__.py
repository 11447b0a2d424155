"""Super-resolvers and the networks that they are made of."""
