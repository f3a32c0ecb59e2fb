"""FCM HTTP v1 as a kind of provider: Google's push service, for Android devices and for Apple devices behind it."""
