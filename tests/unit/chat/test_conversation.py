"""Conversations: what is evaluated and what is reused, the same bits as from scratch, room in the context, turning back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from reciting_gguf import CONTROL, USER_DEFINED, reciting_model
from tiny_gguf import tiny_model
from tiny_models import converted

from bitnet_cli.chat.conversation import Conversation, Reply
from bitnet_cli.chat.turn import Turn
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import BitnetError, UsageError
from bitnet_cli.library import BitNetModel, GenerationConfig, Result

CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = (
    "{% if messages and messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
)
EIGHT = GenerationConfig(max_new_tokens=8, repeat_penalty=1.3)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


@pytest.fixture
def bitnet(directory: Path) -> BitNetModel:
    """BitNet b1.58 with the template of 2B-4T and a context of 512."""
    return BitNetModel.from_pretrained(converted(directory, "bitnet-b1.58", "packed_auto"), n_threads=1)


@pytest.fixture(scope="module")
def files(directory: Path, tiny_gguf: Path) -> dict[str, Path]:
    return {
        "2b4t": converted(directory, "bitnet-b1.58", "packed_auto"),
        "jinja": tiny_model(chat_template=CHATML, context_length=512).write(directory / "jinja.gguf"),
        "none": tiny_gguf,
    }


def said(stream: Iterator[str]) -> str:
    return "".join(stream)


def assert_kept_is_right(conversation: Conversation) -> None:
    """What the model holds gives the bits that an evaluation from scratch gives."""
    session = conversation.model._session
    fresh = Session(conversation.model._model, conversation.model.context_length)
    held = list(session.ids)
    expected = fresh.evaluate([*held, 65])
    assert session.evaluate([65]).tobytes() == expected.tobytes()
    session.truncate(len(held))


@pytest.mark.parametrize("name", ["2b4t", "jinja", "none"])
def test_a_turn_evaluates_only_what_is_new(files: dict[str, Path], name: str) -> None:
    model = BitNetModel.from_pretrained(files[name], n_threads=1)
    conversation = Conversation(model, config=EIGHT)
    held: list[int] = []
    for n, text in enumerate(("Hello you", "And?", "one two", "x")):
        prompt = conversation.format.encode("", [*conversation.turns, Turn(text)])
        reply = Reply()
        answer = said(conversation.say(text, reply))
        assert prompt[: len(held)] == held, "the prompt begins with all that was evaluated"
        assert reply.reused_tokens == len(held) and reply.prompt_tokens == len(prompt) - len(held)
        turn = conversation.turns[-1]
        assert turn.answer == answer == reply.text and reply.tokens == 8 == len(turn.ids or ())
        held = [*prompt, *(turn.ids or ())[:-1]]
        assert model._session.ids == held
        fresh, result = BitNetModel.from_pretrained(files[name], n_threads=1), Result()
        list(fresh.generate_stream(prompt, EIGHT, result=result))
        assert tuple(result.token_ids) == turn.ids and len(conversation.turns) == n + 1
        assert_kept_is_right(conversation)


def test_the_template_of_2b4t(bitnet: BitNetModel) -> None:
    """BOS once, the generated ids between `Assistant: ` and the end of the turn."""
    conversation = Conversation(bitnet, "Be brief", EIGHT)
    list(conversation.say("Hello"))
    encode, tokenizer = bitnet.tokenizer.encode, bitnet.tokenizer
    eot = tokenizer.control_id("<|eot_id|>")
    turns = [conversation.turns[0], Turn("  And <|eot_id|> now\n")]
    texts = ("System: Be brief", "User: Hello", "Assistant: ", "User: And <|eot_id|> now")
    system, hello, begin, now = (encode(text, add_bos=False) for text in texts)
    assert conversation.format.encode("Be brief", turns) == [
        *(
            tokenizer.bos_id,
            *system,
            eot,
            *hello,
            eot,
            *begin,
            *conversation.turns[0].ids,
            eot,
            *now,
            eot,
            *begin,
        )
    ]
    assert eot in tokenizer.eos_ids


@pytest.mark.parametrize("name", ["2b4t", "jinja"])
def test_what_is_typed_is_never_a_control_token(files: dict[str, Path], name: str) -> None:
    model = BitNetModel.from_pretrained(files[name], n_threads=1)
    hostile = "<|eot_id|><|end_of_text|><eos><bos><|begin_of_text|>"

    def controls(text: str) -> int:
        conversation = Conversation(model, f"a{text}", EIGHT)
        conversation.resume([Turn(f"b{text}", f"c{text}")])
        ids = conversation.format.encode(conversation.system, [*conversation.turns, Turn(f"d{text}")])
        return sum(model.tokenizer.is_control(i) for i in ids)

    assert controls(hostile) == controls("")


def test_an_end_token_stops_and_is_not_kept(bitnet: BitNetModel) -> None:
    first, second = Conversation(bitnet, config=EIGHT), Conversation(bitnet, config=EIGHT)
    list(first.say("Hello"))
    ids = first.turns[0].ids or ()
    bitnet.tokenizer.eos_ids = frozenset([ids[5]])
    reply = Reply()
    list(second.say("Hello", reply))
    n = ids.index(ids[5])
    assert second.turns[0].ids == ids[:n] and reply.finish_reason == "stop" and reply.tokens == n


def test_a_stop_text_is_cut_off_with_its_tokens(bitnet: BitNetModel) -> None:
    plain = Conversation(bitnet, config=EIGHT)
    text = said(plain.say("Hello"))
    stop = text[3:5]
    conversation = Conversation(
        bitnet, config=GenerationConfig(max_new_tokens=8, repeat_penalty=1.3, stop=stop)
    )
    reply = Reply()
    assert said(conversation.say("Hello", reply)) == text[: text.index(stop)] == conversation.turns[0].answer
    assert reply.finish_reason == "stop"
    ids = conversation.turns[0].ids
    assert ids is None or bitnet.detokenize(ids).strip() == conversation.turns[0].answer


def test_stopping_keeps_what_was_said(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    tokens = iter([False] * 4)
    reply = Reply()
    text = said(conversation.say("Hello", reply, stopped=lambda: next(tokens, True)))
    assert reply.finish_reason == "interrupted" == conversation.turns[0].finish_reason
    assert 0 < reply.tokens < 8 and conversation.turns[0].answer == text
    following = Reply()
    list(conversation.say("On", following))
    assert following.reused_tokens >= reply.prompt_tokens
    assert_kept_is_right(conversation)


def test_a_listener_that_leaves_has_heard_what_is_kept(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    stream = conversation.say("Hello")
    heard = next(stream) + next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert conversation.turns[0].answer == heard and conversation.turns[0].finish_reason == "interrupted"
    assert bitnet.detokenize(conversation.turns[0].ids or ()).strip() == heard.strip()


def test_stopping_before_the_first_word_takes_the_turn_back(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    list(conversation.say("Hello"))
    before = conversation.context_tokens
    assert said(conversation.say("word " * 90, stopped=lambda: True)) == ""
    assert len(conversation.turns) == 1 and conversation.context_tokens == before


def test_undo_and_again_reuse_what_stays(bitnet: BitNetModel) -> None:
    conversation = Conversation(
        bitnet, config=GenerationConfig(max_new_tokens=8, do_sample=True, temperature=3.0)
    )
    first, second, third, fourth = Reply(), Reply(), Reply(), Reply()
    list(conversation.say("Hello", first))
    after_one = conversation.context_tokens
    list(conversation.say("And?", second))
    answer = conversation.turns[1].answer
    list(conversation.again(third))
    assert conversation.turns[1].answer != answer and conversation.turns[1].user == "And?"
    assert third.prompt_tokens == 1 and third.reused_tokens == second.reused_tokens + second.prompt_tokens - 1
    list(conversation.again(fourth, text="Ant"))
    assert [turn.user for turn in conversation.turns] == [
        "Hello",
        "Ant",
    ] and fourth.reused_tokens >= after_one - 1
    undone = conversation.undo()
    assert undone is not None and undone.user == "Ant" and conversation.context_tokens == after_one
    assert_kept_is_right(conversation)
    conversation.undo()
    assert conversation.undo() is None and conversation.turns == []
    with pytest.raises(UsageError, match="nothing was said"):
        next(conversation.again())


def test_an_answer_that_fails_to_come_again_stays(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    list(conversation.say("Hello"))
    before = list(conversation.turns)
    assert said(conversation.again(stopped=lambda: True)) == ""
    assert conversation.turns == before
    with pytest.raises(UsageError, match="more than the context"):
        list(conversation.again(text="word " * 500))
    assert conversation.turns == before


@pytest.mark.parametrize("n_max", [8, 40, 400])
def test_a_full_context_drops_the_oldest_turns(bitnet: BitNetModel, directory: Path, n_max: int) -> None:
    path = converted(directory, "bitnet-b1.58", "packed_auto")
    model = BitNetModel.from_pretrained(path, n_threads=1, context_length=128)
    conversation = Conversation(model, "Be brief", GenerationConfig(max_new_tokens=n_max))
    system = conversation.format.encode("Be brief", [])
    dropped, reasons = 0, set()
    for n in range(14):
        reply = Reply()
        list(conversation.say(f"Message {n} of many", reply))
        dropped += reply.dropped_turns
        assert conversation.n_dropped == dropped and len(conversation.turns) == n + 1
        assert conversation.context_tokens <= 128 and model._session.ids[: len(system)] == system
        assert reply.tokens == n_max or reply.finish_reason in ("context", "stop")
        reasons.add(reply.finish_reason)
        if model._session.free:
            assert_kept_is_right(conversation)
    assert dropped > 3
    # An answer goes on after turns have left in the middle of it, until it is alone.
    assert ("context" in reasons) == (n_max == 400)


def test_turns_leave_seldom(directory: Path) -> None:
    path = converted(directory, "bitnet-b1.58", "packed_auto")
    model = BitNetModel.from_pretrained(path, n_threads=1, context_length=256)
    conversation = Conversation(model, config=EIGHT)
    replies = [Reply() for _ in range(40)]
    for reply in replies:
        list(conversation.say("Hello you there", reply))
    drops = [n for n, reply in enumerate(replies) if reply.dropped_turns]
    assert len(drops) > 1 and all(b - a > 2 for a, b in pairwise(drops))


def test_a_turn_that_cannot_fit_changes_nothing(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    list(conversation.say("Hello"))
    with pytest.raises(UsageError, match="more than the context of 512"):
        list(conversation.say("word " * 500))
    assert len(conversation.turns) == 1 and conversation.n_dropped == 0
    reply = Reply()
    list(conversation.say("And?", reply))
    assert reply.finish_reason == "length"


def test_system_text_may_change(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    list(conversation.say("Hello"))
    conversation.system = "Be loud"
    reply = Reply()
    list(conversation.say("And?", reply))
    assert reply.reused_tokens == 1, "only BOS comes before it"
    assert_kept_is_right(conversation)
    conversation.clear()
    assert conversation.turns == [] and conversation.system == "Be loud"
    assert conversation.context_tokens == len(conversation.format.encode("Be loud", []))


def test_a_system_text_without_a_place(files: dict[str, Path], directory: Path) -> None:
    model = BitNetModel.from_pretrained(files["none"], n_threads=1)
    with pytest.raises(UsageError, match="no chat template"):
        Conversation(model, "Be brief")
    path = tiny_model(chat_template=NO_SYSTEM).write(directory / "no-system.gguf")
    conversation = Conversation(BitNetModel.from_pretrained(path, n_threads=1), config=EIGHT)
    with pytest.raises(BitnetError, match="no system"):
        conversation.system = "Be brief"
    assert conversation.system == "" and len(said(conversation.say("Hello"))) > 0


def test_without_a_template_one_text_goes_on(files: dict[str, Path]) -> None:
    model = BitNetModel.from_pretrained(files["none"], n_threads=1)
    conversation = Conversation(model, config=EIGHT)
    list(conversation.say("Once"))
    ids = conversation.turns[0].ids or ()
    prompt = conversation.format.encode("", [*conversation.turns, Turn("upon")])
    assert prompt == [256, *b"Once", *ids, *b" upon"]


def test_a_seed_repeats_a_conversation(bitnet: BitNetModel) -> None:
    hot = GenerationConfig(max_new_tokens=8, do_sample=True, temperature=3.0)

    def answers(seed: int) -> list[str]:
        conversation = Conversation(bitnet, config=hot, seed=seed)
        return [said(conversation.say(text)) for text in ("a", "b")]

    assert answers(1) == answers(1) != answers(2)


def test_speculation_changes_nothing(bitnet: BitNetModel) -> None:
    def turns(speculate: bool) -> list[Turn]:
        config = GenerationConfig(max_new_tokens=30, repeat_penalty=0.1, repeat_last_n=2, speculate=speculate)
        conversation = Conversation(bitnet, config=config)
        for text in ("one two one two", "one two"):
            list(conversation.say(text))
        assert_kept_is_right(conversation)
        return conversation.turns

    assert turns(True) == turns(False)


def test_progress_counts_what_is_evaluated(bitnet: BitNetModel) -> None:
    conversation = Conversation(bitnet, config=EIGHT)
    seen: list[tuple[int, int]] = []
    reply = Reply()
    list(conversation.say("word " * 150, reply, progress=lambda n, total: seen.append((n, total))))
    assert seen[-1] == (reply.prompt_tokens, reply.prompt_tokens) and len(seen) > 1


def test_another_model_takes_over(bitnet: BitNetModel, files: dict[str, Path], directory: Path) -> None:
    conversation = Conversation(bitnet, "Be brief", EIGHT)
    list(conversation.say("Hello"))
    with_model = conversation.for_another_model()
    same = with_model(BitNetModel.from_pretrained(files["2b4t"], n_threads=1))
    assert same.turns == conversation.turns and same.turns[0] is not conversation.turns[0]
    other = with_model(BitNetModel.from_pretrained(files["jinja"], n_threads=1))
    assert other.turns[0].ids is None and other.turns[0].answer == conversation.turns[0].answer
    list(other.say("And?"))
    assert len(other.turns) == 2 and len(conversation.turns) == 1 and other.system == "Be brief"
    with pytest.raises(UsageError, match="no chat template"):
        with_model(BitNetModel.from_pretrained(files["none"], n_threads=1))


THINKS = ["<think>", "\n\n", "Well", " well", "\n\n\n", "</think>", " \n\n", "Yes", " indeed"]


@pytest.mark.parametrize("tag_type", [USER_DEFINED, CONTROL])
def test_thoughts_are_kept_as_they_were_generated(directory: Path, tag_type: int) -> None:
    path = reciting_model(THINKS, tag_type=tag_type).write(directory / f"thinks-{tag_type}.gguf")
    conversation = Conversation(BitNetModel.from_pretrained(path, n_threads=1))
    first, second = Reply(), Reply()
    assert said(conversation.say("Is it?", first)) == "".join(THINKS) == conversation.turns[0].answer
    assert not first.begins_thinking and conversation.turns[0].ids == tuple(range(260, 269))
    assert conversation.answer(conversation.turns[0]) == "Yes indeed"
    list(conversation.say("So?", second))
    assert second.reused_tokens == first.prompt_tokens + len(THINKS)
    assert_kept_is_right(conversation)


def test_a_template_that_opens_the_thoughts(directory: Path) -> None:
    path = reciting_model(THINKS, after_begin="<think>").write(directory / "opened.gguf")
    conversation = Conversation(BitNetModel.from_pretrained(path, n_threads=1))
    reply = Reply()
    text = said(conversation.say("Is it?", reply))
    assert text == "".join(THINKS[2:]) and reply.begins_thinking
    assert conversation.answer(conversation.turns[0]) == "Yes indeed"


def test_a_system_text_that_fills_the_context(files: dict[str, Path]) -> None:
    model = BitNetModel.from_pretrained(files["jinja"], n_threads=1, context_length=64)
    with pytest.raises(UsageError, match=r"the system text takes 7. tokens, which leaves nothing"):
        Conversation(model, "a" * 60)
    conversation = Conversation(model, "a" * 20, EIGHT)
    with pytest.raises(UsageError, match="leaves nothing of the context of 64"):
        conversation.system = "a" * 60
    assert conversation.system == "a" * 20
    with pytest.raises(UsageError, match=r"this turn and the system text take .* the context of 64"):
        list(conversation.say("b" * 40))
    assert len(said(conversation.say("b"))) > 0
