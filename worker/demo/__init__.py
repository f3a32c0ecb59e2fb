"""`carillon demo`: a day's chat in half a minute, and an account of every device at the end.

1. `population` and `talk` invent a **world** from a seed: people, devices, channels, conversations. Facts only, no rule.
2. `expectation` reads the rules a second time, from their text, and says of each message who must get a push and why nobody else.
3. `stage` starts the system as it runs in production: engines, workers, beat, Flower, and simulators of
   APNs, FCM and Web Push, which `services` knows.
4. `traffic` publishes the world as events, `watch` and `display` show what becomes of them.
5. `account` compares what the simulators took, what the journal counted and what Postgres holds with what was expected.

The expectation shares no code with the pipeline: what one of the two gets wrong, the account shows.
"""
