"""The blocking client, generated from `tradewind/_async` when the SDK is built."""
