#!/usr/bin/env python3
"""Writes the little stories that the tiny model is trained on: one story a line, made from a grammar with a seed.

Every story keeps its people, things and places consistent (the right pronoun, the same toy, a cause before its effect), so that a small model
has something real to learn.    usage: make_text.py N_STORIES SEED > stories.txt
"""
import random
import sys

GIRLS = ["Mia", "Anna", "Lucy", "Rosa", "Emma", "Ella", "Nora", "Lily"]
BOYS = ["Tom", "Ben", "Max", "Sam", "Leo", "Jack", "Paul", "Finn"]
ANIMALS = ["dog", "cat", "rabbit", "duck", "pony", "mouse", "fox", "bear"]
COLORS = ["red", "blue", "green", "yellow", "white", "brown"]
TOYS = ["ball", "kite", "boat", "drum", "train", "doll", "book", "hat"]
PLACES = ["park", "garden", "forest", "river", "hill", "farm", "beach", "meadow"]
FOODS = ["an apple", "some bread", "a cake", "some soup", "a pear", "some milk"]
WEATHER = [("sunny", "warm"), ("rainy", "wet"), ("windy", "cold"), ("snowy", "cold")]
HIDING = ["under a tree", "behind a stone", "in the tall grass", "next to the old wall", "near the water"]


def story(r):
    is_girl = r.random() < 0.5
    name = r.choice(GIRLS if is_girl else BOYS)
    he, him, his = ("she", "her", "her") if is_girl else ("he", "him", "his")
    friend = r.choice([n for n in GIRLS + BOYS if n != name])
    animal, color, toy, place = r.choice(ANIMALS), r.choice(COLORS), r.choice(TOYS), r.choice(PLACES)
    weather, feel = r.choice(WEATHER)
    food, where = r.choice(FOODS), r.choice(HIDING)
    kind = "girl" if is_girl else "boy"
    He = he.capitalize()
    His = his.capitalize()
    start = r.choice([
        f"Once upon a time, there was a little {kind} named {name}.",
        f"One day, a little {kind} named {name} went to the {place}.",
        f"{name} was a little {kind} who lived near the {place}.",
    ])
    has = r.choice([
        f"{name} had a {color} {toy}. {He} loved the {toy} very much.",
        f"{He} had a {color} {toy} and played with it every day.",
    ])
    day = f"It was a {weather} day, and the air was {feel}."
    plot = r.randrange(5)
    if plot == 0:
        middle = (f"{name} took the {toy} to the {place}. Then the {toy} was gone. {name} looked and looked, but {he} could not find it. "
                  f"{He} was very sad. A {animal} came and said, \"I can help you.\" The {animal} found the {color} {toy} {where}. "
                  f"{name} was happy and said, \"Thank you, {animal}!\"")
    elif plot == 1:
        middle = (f"At the {place}, {name} met a {animal}. The {animal} was hungry. {name} gave the {animal} {food}. "
                  f"The {animal} ate it all and was not hungry any more. \"You are very kind,\" said the {animal}.")
    elif plot == 2:
        middle = (f"{name} went to the {place} with {friend}. {friend} wanted to play with the {toy}, but {name} said, \"No, it is my {toy}!\" "
                  f"{friend} was sad. Then {name} said, \"I am sorry. We can share the {toy}.\" {friend} smiled, and they played together.")
    elif plot == 3:
        middle = (f"At the {place}, {name} saw a little {animal} {where}. The {animal} was lost and wanted to go home. "
                  f"{name} took the {animal} home to its mother. The mother was so happy. \"Thank you, {name},\" she said.")
    else:
        middle = (f"{name} wanted to make a gift for {his} mother. {He} went to the {place} and found a {color} flower {where}. "
                  f"{He} took it home. {His} mother said, \"What a nice flower! Thank you, {name}.\" She gave {him} {food}.")
    end = r.choice([
        "They were friends from that day on.",
        f"In the evening, {name} went home and told {his} mother about the day.",
        f"{name} went home and slept well.",
        "And they all lived happily.",
    ])
    parts = [start]
    if plot in (0, 2) or r.random() < 0.4:
        parts.append(has)
    if r.random() < 0.5:
        parts.append(day)
    return " ".join(parts + [middle, end])


def main():
    n_stories, seed = int(sys.argv[1]), int(sys.argv[2])
    r = random.Random(seed)
    for _ in range(n_stories):
        print(story(r))


if __name__ == "__main__":
    main()
