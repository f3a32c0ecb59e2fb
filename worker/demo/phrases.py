"""What people are called and what they say. Data only.

A conversation is a block of lines, each spoken by one of its people (A, B, …). `@B` mentions one of them; `{place}` and the
like are filled from `SLOTS`. Blocks of `THREADS` are a root and replies in its thread; some who reply were not called.
"""

from typing import Final

FIRST_NAMES: Final = """
Aaliyah Adam Aiko Alejandro Amara Amir Ana Anders Anika Anton Aoife Astrid Ayesha Beatriz Ben Bruno Camille Carlos Chen
Chiara Chloe Dana Daniel David Diego Dina Ebba Elena Elif Elias Emeka Emma Esther Fatima Felix Femi Finn Freya Gabriel
Giulia Grace Hana Hanna Hassan Helena Henrik Hugo Ibrahim Ines Ingrid Isaac Isabel Ivan Jakub James Jana Jin Joana Jonas
Jun Kaito Karim Kasia Kateryna Kenji Kofi Laila Lars Laura Layla Leila Lena Leo Liam Lina Linh Lucia Luka Maja Malik
Marco Maria Marta Mateo Maya Mei Mila Milan Minh Mira Mohammed Nadia Naomi Natalia Nia Nina Noah Noor Nora Oksana Olga
Oliver Omar Oscar Paula Pavel Pedro Priya Rafael Rania Ravi Rosa Ruth Salma Sam Samira Sanjay Sara Selin Simon Sofia Sven
Tamar Tariq Teresa Theo Thomas Tomas Uma Valentina Vera Victor Viktor Wanjiru Wei Xin Yara Yasmin Yuki Yusuf Zainab Zofia
"""
LAST_NAMES: Final = """
Abebe Adeyemi Aguilar Ahmed Almeida Andersen Baker Balogun Bauer Becker Bianchi Bondarenko Brown Carvalho Castro Chen Cohen
Costa Davies Diaz Dubois Eriksson Farah Fernandez Fischer Garcia Ghosh Green Gruber Gupta Haddad Hansen Hassan Hoang
Horvat Ito Ivanova Jansen Johansson Jones Kamau Kaplan Kaya Keller Khan Kim Kowalski Kumar Larsen Laurent Lee Lopez Lund
Maier Martin Mbeki Mehta Meyer Moreau Moreno Murphy Nakamura Nguyen Nielsen Novak Nowak Obi Okafor Oliveira Osei Park
Patel Peeters Pereira Petrov Popescu Reyes Ricci Romano Rossi Ryan Sato Schmidt Sharma Silva Singh Smith Suzuki Takahashi
Tanaka Tran Vargas Virtanen Wagner Walker Wang Weber Wright Yilmaz Zhang Ziegler
"""

SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "place": (
        "the station",
        "Café Luna",
        "the harbour",
        "my place",
        "the library",
        "the old mill",
        "platform 4",
        "the market hall",
    ),
    "time": ("6", "half past seven", "noon", "9:30", "quarter to eight", "five-ish", "18:00", "after work"),
    "day": ("Friday", "Saturday", "tomorrow", "Sunday morning", "tonight", "next Tuesday", "Thursday"),
    "food": ("ramen", "lasagne", "tacos", "pho", "pierogi", "the good bread", "jollof", "dumplings", "pizza 🍕"),
    "thing": (
        "the projector",
        "your bike",
        "the spare key",
        "the tent",
        "that blue jacket",
        "the guitar",
        "the charger",
    ),
    "city": ("Lisbon", "Kraków", "Osaka", "Nairobi", "Oaxaca", "Ghent", "Hanoi", "Izmir"),
    "part": ("the login page", "checkout", "the search index", "the nightly import", "the iOS build", "image upload"),
    "number": ("2.4", "3.0", "118", "4.12.1", "77", "0.9"),
    "minutes": ("5", "10", "15", "20", "25"),
}

PAIRS: Final = """
A: are you still up for {day}?
B: yes! {time} at {place}?
A: perfect, see you there

A: I'm at {place}, where are you
B: {minutes} min away, sorry 🙈 tram is stuck
A: no stress, I got us a table

A: did you get home alright?
B: just now. thanks for tonight, that was lovely
A: any time ❤️

A: can I borrow {thing} until {day}?
B: sure, it's in the hallway. just take it
A: you're the best
B: I know 😄

A: happy birthday!! 🎉
B: thank you!! cake at {time} if you're around
A: wouldn't miss it

A: mum says call her back
B: doing it now
B: ok she just wanted to know what {food} is called in Portuguese

A: how was {city}?
B: unreal. I ate {food} every single day
A: so jealous. photos please

A: you left {thing} in my car
B: noooo. can you bring it {day}?
A: 👍

A: the landlord wrote again
B: what does he want this time
A: to look at the boiler, {day} at {time}
B: fine by me

A: running late, start without me
B: we already did 😅

A: do you remember the name of that place with the {food}?
B: the one near {place}? no idea
B: wait, asking Tom
A: never mind, found it on the map!

A: pick up milk on the way?
B: yep. anything else?
A: {food} if they have it
"""

GROUPS: Final = """
A: who's in for {food} at {time}?
B: me
C: me too, but I have to leave by nine
A: table for three then. {place}!

A: the 7:42 is cancelled again
B: of course it is
C: taking the bike. rain or not
B: brave

A: anyone seen {thing}?
B: it was in the back room yesterday
A: found it. under the pizza boxes. who did this
C: I plead the fifth

A: match moved to {day}, {time}
B: same pitch?
A: yes. bring both shirts
C: I can take three in the car

A: heads up: {part} is slow since this morning
B: looking
B: found it, a query without an index. fix is out in {minutes} min
A: back to normal here, thanks!

A: does anybody have the notes from yesterday's lecture?
B: photographed all of it, uploading now
A: lifesaver 🙏

A: we landed in {city} ✈️
B: welcome!! get {food} at the stand by the exit, trust me
C: send pictures

A: build {number} is on TestFlight
B: installed. dark mode looks so good
C: crashes for me when I rotate the phone on the second screen, will send the log

A: book club: are we really reading 900 pages by {day}?
B: I'm on page 40
C: I watched the film
A: ...same

A: the neighbours' cat is in our kitchen again
B: Mochi!! give her a treat
C: she has three families and all of them feed her

A: standup in {minutes}, I'm in the small room
B: dialling in from the train, might drop
C: no blockers from me, finishing {part} today

A: @B could you look at the numbers before {day}? The totals on page 3 do not add up with what finance sent us last week.
B: on it, will have something by {time}
A: thank you!

A: new photos from the trip are in the album
B: the one with the goat 😂
C: frame it

A: @C you were right about {place}
C: I usually am
B: we noticed

A: I made way too much {food}. come by?
B: on my way
C: save me some for tomorrow
"""

THREADS: Final = """
A: Who takes which shift on {day}? @B @C
B: early, please
C: late is fine for me
A: great, it's in the plan

A: Release {number}: anything that still blocks us? @B @C @D
B: translations are in
C: one flaky test left in {part}, looking at it now
D: docs done, changelog too
A: then we ship at {time}
C: green 🎉

A: Present for Lena: I'd say {thing}. @B what do you think?
B: love it. I'm in with 15
C: me too, can you order it?
A: ordered, arrives {day}

A: Postmortem for yesterday, draft is in the wiki. @B @C please read the part about {part}
B: added the timeline from our side
C: two small corrections, otherwise good
A: thanks both, sending it out

A: Flat viewing on {day} at {time}, near {place}. @B can you come along?
B: yes! shall I bring the measuring tape?
A: please do

A: Which of the three logos? @B @C
B: second
C: second, but a darker green
D: first... I'm alone with that, right
A: second it is
"""

NOTICES: Final = """
A: Good morning everyone! The canteen has {food} today, from {time}.

A: The lift in the east building is out of service until {day}. Please use the stairs by {place}.

A: Maintenance window for {part}: {day}, {time}. Expect about {minutes} minutes of read-only mode.

A: Welcome to the eleven people who joined us this week! Say hello when you see them 👋

A: Fire drill at {time}. It is a drill. Please still leave the building.

A: Found: {thing}. Ask at the front desk.

A: Our summer party is on {day}! Live music, {food}, and a dance floor that we promise is bigger than last year's.

A: Version {number} is out. What is new: faster search, fewer bugs, and you can finally undo.
"""

#: Written by the chat server itself, with `skip_push`.
SYSTEM: Final = (
    "{who} joined the channel",
    "{who} changed the picture",
    "{who} pinned a message",
    "{who} renamed the channel",
)
#: Names of channels by size: up to 12 members, up to 60, and above.
ROOMS: Final = (
    (
        "family",
        "flat 12",
        "band practice",
        "trip to {city}",
        "book club",
        "Sunday runners",
        "the cousins",
        "game night",
    ),
    (
        "design",
        "backend",
        "year 7 parents",
        "choir",
        "volunteers",
        "rowing team",
        "climbing gym",
        "allotments",
        "night shift",
    ),
    (
        "all of {city}",
        "running club {city}",
        "support",
        "sales",
        "students {city}",
        "festival crew",
        "maker space {city}",
    ),
)
EVERYBODY: Final = ("Town hall", "Announcements", "Lost & found", "Marketplace", "Campus")
