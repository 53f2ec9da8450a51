"""The contract `tradewind.v1`: messages and service stubs, generated from the protos when this package is built."""
