"""APNs as a kind of provider: Apple's push service, by provider token or certificate."""
