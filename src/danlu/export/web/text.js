// A text to the numbers of its words and n-grams, as danlu's TextEncoder gives them.

const LONE = "[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}]";
const LETTER = `(?:(?!${LONE})[\\p{L}\\p{M}\\p{N}_])`;
const WORD = new RegExp(`${LONE}|${LETTER}+(?:(?:['’]|(?<=\\p{N})[.,](?=\\p{N}))${LETTER}+)*|[^\\p{White_Space}\\p{L}\\p{M}\\p{N}_]`, "gu");
const [PAD, UNKNOWN] = [0, 1];

const REST = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ byte >>> 1 : byte >>> 1;
  return byte;
});
function checksum(text) {  // CRC-32
  let rest = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) rest = REST[(rest ^ byte) & 255] ^ rest >>> 8;
  return (rest ^ 0xffffffff) >>> 0;
}

function cutText(text, lowercase) {
  const spelt = text.normalize("NFC");
  return (lowercase ? [...spelt].map((sign) => sign.toLowerCase()).join("") : spelt).match(WORD) || [];
}

function encodedText(text, about) {
  const { tokenizer, words, grams, buckets } = about, found = cutText(text, tokenizer.lowercase);
  about.numbers ||= new Map(tokenizer.vocabulary.map((word, number) => [word, number]));
  const number = (gram) => checksum(gram) % (buckets - 1) + 1;
  const every = new Set(found.map(number));
  for (const size of [2, 3])
    for (let from = 0; from + size <= found.length; from++) every.add(number(found.slice(from, from + size).join("\x1f")));
  for (const word of found) {
    const signs = [...word];
    if (signs.length === 1) continue;
    const marked = ["\x02", ...signs.slice(0, 64), "\x03"];
    for (const size of [2, 3, 4, 5])
      for (let from = 0; size < marked.length && from + size <= marked.length; from++)
        every.add(number(marked.slice(from, from + size).join("")));
  }
  const made = { words: new Int32Array(words).fill(PAD), grams: new Int32Array(grams) };
  made.words.set(found.slice(0, words).map((word) => about.numbers.get(word) ?? UNKNOWN));
  made.grams.set([...every].slice(0, grams));
  return made;
}
