"""The examples of systems, residual states, sharing and teacher forcing have the described results, even in quick runs."""

import re

from example_runs import quick, runs

test_they_run = runs("sharing", "teacher_forcing", "residual", "dynamics", "memory")


def rows(name):
    """The last table: maps the first words of each line to the numbers of the line."""
    found = {}
    for line in quick(name).printed.splitlines():
        label = re.match(r"\s*([a-z0-9][a-z0-9,% ]*?)(?:\s{2,}|$)", line)
        if label:
            numbers = re.findall(r"(?<= )-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?=%?(?: |$))", line[label.end(1) :])
            found[label[1]] = [float(number) for number in numbers]
    return found


def test_shared_parameters_need_fewer_sequences():
    (shared, per_step, longer) = rows("sharing")["32 sequences of ten"]
    assert shared < 1 < per_step and longer < 1


def test_own_outputs_prepare_for_deployment():
    found = rows("teacher_forcing")
    (mean, _), forced = found["the mean level"], found["teacher forcing"]
    assert forced[0] < forced[1] < mean / 2
    assert found["teacher forcing, then free"][1] < forced[1]
    assert found["training, teacher forced"] == [0] and found["deployment"] == [2]


def test_a_residual_state_keeps_score():
    found = rows("residual")
    assert found["residual"][-2] < 0.2 * found["answer 0"][0]
    assert found["residual"][-3] == 1 and found["plain"][-3] < 1e-9


def test_more_units_come_nearer_to_the_system():
    found = rows("dynamics")
    assert found["32 units"][0] < found["linear"][0] and found["32 units"][1] < found["linear"][1]


def test_stored_letters_are_recalled():
    said = quick("memory").printed
    found = {
        int(n): (float(hebb), float(best)) for n, hebb, best in re.findall(r"(\d+) patterns.*Hebb +([\d.]+)%.* ([\d.]+)%", said)
    }
    assert found[5][0] > 99 and found[40][0] < 85 < 95 < found[20][1]
    assert re.search(r"5% turned over +as asked +0% +Hebb +\d+% +projection 100%", said)
