"""The FCM of the simulator: Google's token endpoint and the HTTP v1 API's `messages:send`."""
