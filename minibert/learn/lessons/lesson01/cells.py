# %% load
import unicodedata

from minibert import BertTokenizer, show_bars, show_tokens

tokenizer = BertTokenizer.from_pretrained("minibert-demo")
show_tokens(tokenizer, "The embeddings of the pear tree.")

# %% korean
show_tokens(tokenizer, "추석에 먹은 배가 맛있었다.")

# %% chinese
show_tokens(tokenizer, "今天天气很好。")

# %% vocabulary
vocabulary = list(tokenizer.vocab)
print(len(vocabulary))
print(vocabulary[:20])
print(vocabulary[8000:8020])

# %% scripts
from collections import Counter


def script(piece):
    """HANGUL, LATIN, CJK …: the first word of the name of its first character."""
    return unicodedata.name(piece.removeprefix("##")[0]).split()[0]


inside = [piece for piece in vocabulary if piece.startswith("##")]
print(len(inside))
show_bars(dict(Counter(map(script, vocabulary)).most_common(4)), label="pieces")

# %% longest
word = "embeddings"
first = [word[:end] for end in range(len(word), 0, -1) if word[:end] in tokenizer.vocab]
rest = word.removeprefix(first[0])
then = ["##" + rest[:end] for end in range(len(rest), 0, -1) if "##" + rest[:end] in tokenizer.vocab]
first, then

# %% hashes
tokenizer.convert_tokens_to_ids(["배", "##배", "가", "##가"])

# %% back
ids = tokenizer("추석에 먹은 배가 맛있었다.").input_ids
tokenizer.decode(ids, skip_special_tokens=True)

# %% exercise: wordpiece
answer = ...  # your function, which begins: def pieces(word, vocabulary):
check("wordpiece", answer)


# %% solution: wordpiece
def pieces(word, vocabulary):
    """The pieces of one word: a list of entries of the vocabulary, or ["[UNK]"]."""
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):  # the longest first
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                found.append(piece)
                start = end
                break
        else:  # nothing fits here
            return ["[UNK]"]
    return found


answer = pieces

# %% unknown
for text in ("naive", "naïve", "뷁", "쐈뷁", "x" * 100, "x" * 101):
    print(len(text), text[:5], tokenizer.tokenize(text)[:5])

# %% words
from minibert.tokenizer.basic import BasicTokenizer

cased = BasicTokenizer(do_lower_case=False)
print(cased.tokenize(" Can't\t stop,  \n really!"))
print(cased.tokenize("대한민국(大韓民國)"))

# %% exercise: words
answer = ...  # the words of "韓國語를 배운다!", as a list
check("words", answer)

# %% solution: words
answer = cased.tokenize("韓國語를 배운다!")


# %% nfd
def show_parts(character):
    """A character's canonical decomposition: code point, category and name of each part."""
    for part in unicodedata.normalize("NFD", character):
        print(f"{character}  U+{ord(part):04X}  {unicodedata.category(part)}  {unicodedata.name(part)}")


for character in ("é", "が", "배", "한"):
    show_parts(character)

# %% uncased
uncased = BasicTokenizer(do_lower_case=True)
[(word, len(word)) for word in uncased.tokenize("Café 한국어")]

# %% exercise: code-points
answer = ...  # how many code points the uncased rules leave of each of "naïve", "が", "닭", as a list of three numbers
check("code-points", answer)

# %% solution: code-points
answer = [len(word) for text in ("naïve", "が", "닭") for word in uncased.tokenize(text)]

# %% jamo
from minibert.learn import lesson_model

text = "임베딩을 시도할 문장이다."
published = "이 ##ᆷ ##베 ##디 ##ᆼ을 시 ##도 ##할 ᄆ ##ᅮᆫ ##장이 ##다 ."
broken = unicodedata.normalize("NFD", published).split()
folder = lesson_model("bert-base-multilingual-uncased")
if folder:
    broken = BertTokenizer.from_pretrained(folder).tokenize(text)
[(piece, len(piece.removeprefix("##"))) for piece in broken]

# %% joined
joined = "".join(piece.removeprefix("##") for piece in broken)
len(joined), unicodedata.normalize("NFC", joined)

# %% boat-and-pear
both = "[CLS] 배를 타고 여행을 간다.추석에 먹은 배가 맛있었다. [SEP]"
published = """[CLS] ᄇ ##ᅢ를 ᄐ ##ᅡ고 ᄋ ##ᅧ ##행을 가 ##ᆫ다 . ᄎ ##ᅮ ##석 ##에 ᄆ ##ᅥ ##ᆨ은
ᄇ ##ᅢ ##가 ᄆ ##ᅡ ##ᆺ이 ##ᆻ ##었다 . [SEP]"""
tokens = unicodedata.normalize("NFD", published).split()
ids = [101, 1170, 73446, 1179, 67384, 1174, 46069, 91480, 20966, 32407, 119, 1177, 46188, 40482, 10609]
ids += [1169, 33645, 34653, 1170, 26179, 11376, 1169, 25539, 80054, 97104, 20001, 119, 102]
if folder:
    tokens = BertTokenizer.from_pretrained(folder).tokenize(both)
    ids = BertTokenizer.from_pretrained(folder).convert_tokens_to_ids(tokens)
print(len(tokens), *(f"{piece}={token_id}" for piece, token_id in zip(tokens, ids, strict=True)))

# %% slice
published = """weltkrieg ##었다 dock maakte бас mannschaft ##ξη ##list holy ##nze
dun sien hanet општина 2015년 dice motion ancienne hora lama"""
part = unicodedata.normalize("NFD", published).split()
if folder:
    part = list(BertTokenizer.from_pretrained(folder).vocab)[20000:20020]
print(*part)
[(piece, len(piece)) for piece in part if not unicodedata.is_normalized("NFC", piece)]

# %% others
texts = ["이 영화 정말 재밌어요", "他在看电影。", "The pear tree is in bloom."]
others = {
    "bert-base-uncased": [
        "ᄋ ##ᅵ ᄋ ##ᅧ ##ᆼ ##ᄒ ##ᅪ ᄌ ##ᅥ ##ᆼ ##ᄆ ##ᅡ ##ᆯ [UNK]",
        "[UNK] [UNK] [UNK] [UNK] [UNK] 。",
        "the pear tree is in bloom .",
    ],
    "bert-base-multilingual-uncased": [
        unicodedata.normalize("NFD", "이 영화 정 ##말 ᄌ ##ᅢ ##미 ##ᆻ ##어 ##요"),
        "他 在 看 电 影 。",
        "the pea ##r tree is in bloom .",
    ],
    "bert-base-multilingual-cased": [
        "이 영화 정 ##말 [UNK]",
        "他 在 看 电 影 。",
        "The pe ##ar tree is in bl ##oom .",
    ],
    "kcbert-base": [
        "이 영화 정말 재밌 ##어요",
        "[UNK] [UNK] [UNK] [UNK] [UNK] [UNK]",
        "T ##he p ##ea ##r t ##re ##e is in b ##l ##oo ##m .",
    ],
}
for name in others:
    if lesson_model(name):
        others[name] = [" ".join(BertTokenizer.from_pretrained(lesson_model(name)).tokenize(text)) for text in texts]
others["minibert-demo"] = [" ".join(tokenizer.tokenize(text)) for text in texts]

# %% counts
for name, rows in others.items():
    print(f"{name:31}", [(len(row.split()), row.count("[UNK]")) for row in rows])

# %% film
for name, rows in others.items():
    print(f"{name:31}", rows[0])

# %% exercise: whose
first = "안 ##녕 ##하 ##세 ##요"
second = "ᄋ ##ᅡᆫ ##녀 ##ᆼ ##하 ##세 ##요"
third = "안녕 ##하세요"
answer = [..., ..., ...]  # which vocabulary made each: "multilingual-cased", "multilingual-uncased" or "kcbert"
check("whose", answer)

# %% solution: whose
answer = ["multilingual-cased", "multilingual-uncased", "kcbert"]

# %% wrong-rules
wrong = BertTokenizer.from_pretrained("minibert-demo", do_lower_case=True)
print(wrong.tokenize("추석에 먹은 배가 맛있었다."))
print(wrong.tokenize("The pear tree is in bloom."))
