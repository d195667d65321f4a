"""Print what the lamp understands of each text of ``texts.json``."""

import json

from lamp import speech

with open("texts.json") as file:
    for text in json.load(file):
        print(json.dumps(speech.understand(text)))
