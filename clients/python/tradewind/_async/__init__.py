"""The asyncio client. The blocking one, `tradewind/_sync`, is generated from it when the SDK is built."""
