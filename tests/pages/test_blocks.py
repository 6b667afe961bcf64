"""How a page is read: its blocks, their marks, and what readers do not see."""

from __future__ import annotations

from pages.blocks import Block, Instruction, pages, steps


def test_a_block_has_its_language_its_line_and_its_text():
    (block,) = steps("# Title\n\n```python\nx = 1\n\ny = 2\n```\n")
    assert block == Block("python", "x = 1\n\ny = 2\n", 4)


def test_a_mark_belongs_to_the_next_block_alone():
    first, second = steps("<!-- save: app.py -->\n\n```python\n```\n\n```python\n```\n")
    assert isinstance(first, Block)
    assert isinstance(second, Block)
    assert (first.marks, second.marks) == ({"save": "app.py"}, {})


def test_several_marks_may_stand_in_front():
    (block,) = steps("<!-- preset: nodius -->\n<!-- save: r.yaml -->\n```yaml\n```\n")
    assert isinstance(block, Block)
    assert block.marks == {"preset": "nodius", "save": "r.yaml"}


def test_text_between_a_mark_and_a_block_ends_the_mark():
    (block,) = steps("<!-- save: app.py -->\n\nA word.\n\n```python\n```\n")
    assert isinstance(block, Block)
    assert block.marks == {}


def test_a_comment_that_is_no_mark_means_nothing():
    (block,) = steps("<!-- figures: begin -->\n```json\n```\n")
    assert isinstance(block, Block)
    assert block.marks == {}


def test_an_instruction_stands_by_itself():
    assert steps("Text.\n\n<!-- server: registry.yaml flask -->\n") == [
        Instruction("server", "registry.yaml flask", 3)
    ]


def test_blocks_inside_a_comment_are_blocks_with_marks_of_their_own():
    found = steps(
        "Text.\n\n<!--\nsave: app.py\n```python\nx\n```\n\nserver: r.yaml\nalias: a.example\n-->\n"
    )
    assert found == [
        Block("python", "x\n", 6, {"save": "app.py"}),
        Instruction("server", "r.yaml", 9),
        Instruction("alias", "a.example", 9),
    ]


def test_a_block_knows_the_one_right_before_it_also_from_inside_a_comment():
    page = "```python\n```\n\n```text\n```\n\nWord.\n\n```text\n```\n"
    assert [step.after for step in steps(page) if isinstance(step, Block)] == ["", "python", ""]
    hidden = "```python\n```\n\n<!--\n```text\n```\n-->\n"
    assert [step.after for step in steps(hidden) if isinstance(step, Block)] == ["", "python"]


def test_a_block_in_a_list_knows_how_far_it_is_indented():
    (block,) = steps("- Item:\n\n  ```console\n  $ true\n  ```\n")
    assert isinstance(block, Block)
    assert (block.indent, block.text, block.line) == ("  ", "$ true\n", 4)


def test_an_indented_block_is_a_block_without_a_language():
    (block,) = steps("Text.\n\n    code\n")
    assert isinstance(block, Block)
    assert block.language == ""


def test_the_front_pages_are_among_the_pages():
    names = [path.name for path in pages()]
    assert {"README.md", "SECURITY.md", "index.md"} <= set(names)
