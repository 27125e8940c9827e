"""Facts as people write them: prices, percentages, dates, times, codes. A caption copies them exactly."""

from .words import pseudo_word

MONTHS = "January February March April May June July August September October November December".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
PERCENTAGES = (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 75, 80)


def number(rng):
    """A whole number of 2 or more."""
    return str(rng.choice((rng.randint(2, 12), rng.randint(2, 60), rng.randint(10, 500))))


def percentage(rng):
    return f"{rng.choice((*PERCENTAGES, rng.randint(2, 99)))}%"


def price(rng):
    amount = rng.choice((str(rng.randint(2, 250)), str(rng.randint(2, 99)), f"{rng.randint(1, 99)}.{rng.choice(('50', '99', '90', '25', '95'))}", f"{rng.randint(1, 9)},{rng.randint(100, 999)}"))
    return rng.choice(("${}", "${}", "${}", "€{}", "£{}", "{} dollars", "{} euros", "{}€")).format(amount)


def date(rng):
    day, month = rng.randint(1, 28), rng.choice(MONTHS)
    return rng.choice((f"{day} {month}", f"{month} {day}", f"{month} {day}th", f"{day}/{rng.randint(1, 12)}", f"{rng.choice(WEEKDAYS)} {day} {month}", f"{day} {month[:3]}"))


def clock_time(rng):
    hour, half, minutes = rng.randint(1, 12), rng.choice(("am", "pm")), rng.choice(("00", "15", "30", "45", f"{rng.randint(0, 59):02}"))
    return rng.choice((f"{hour} {half}", f"{hour}{half}", f"{hour}:{minutes} {half}", f"{rng.randint(6, 23)}:{minutes}", f"{hour}:{minutes}"))


def year(rng):
    return str(rng.randint(1950, 2031))


def code(rng, pool):
    """A discount code, and itself as the word to copy."""
    text = pseudo_word(rng, pool).upper()[: rng.randint(3, 7)] + rng.choice((number(rng), number(rng), ""))
    return text, text


def draw_offer(rng, pool):
    """An offer; second, an invented code if it holds one."""
    until = rng.choice(
        (
            "this weekend", f"until {rng.choice(WEEKDAYS)}", "today only", "this week", f"until {date(rng)}", f"until {date(rng)}",
            f"on {rng.choice(WEEKDAYS)}", f"before {clock_time(rng)}", f"from {date(rng)}",
        )
    )
    form = rng.choice(
        (
            "{percent} off", "{percent} off {until}", "{percent} off {until}", "now {price}", "only {price}", "{price} each", "from {price}",
            "{price} {until}", "free delivery {until}", "two for one {until}", "half price {until}", "free shipping over {price}",
            "save {percent} with code {code}", "{percent} off with {code}", "buy {small}, get 1 free", "tickets from {price}", "just {price} {until}",
            "{percent} discount for members", "only {small} left", "was {price}, now {other}", "{price} instead of {other}", "use {code} for {percent} off",
        )
    )
    text_code, _ = code(rng, pool)
    text = form.format(
        percent=percentage(rng), price=price(rng), other=price(rng), until=until, code=text_code, small=rng.randint(2, 9)
    )
    return text, text_code if "{code}" in form else None
