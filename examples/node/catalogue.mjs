// The products of a shop and a word search over them, held in memory.
//
// Products are made up from a fixed seed, so that the catalogue is the same at each start. In a service of your own they
// would come from a database or a file.

const PRODUCTS = 200_000;
const THINGS = ["chair", "table", "lamp", "shelf", "rug", "mug", "plate", "pan", "clock", "vase", "blanket", "mirror", "desk"];
const COLOURS = ["red", "blue", "green", "black", "white", "grey", "yellow", "brown"];
const MATERIALS = ["oak", "pine", "steel", "glass", "wool", "cotton", "linen", "marble", "bamboo", "leather"];
const ROOMS = ["kitchen", "hall", "garden", "office", "bath", "bedroom", "attic", "balcony"];

/** A small generator of numbers from 0 to 1 with a seed, which Math.random() cannot be given (Park and Miller, 1988). */
function numbers(seed) {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

export class Catalogue {
  /** Takes under a second and about 110 MiB, nearly all of it objects on V8's heap. */
  constructor() {
    const random = numbers(50);
    const one = (list) => list[Math.floor(random() * list.length)];
    this.products = [];
    const having = new Map();
    for (let number = 0; number < PRODUCTS; number += 1) {
      const tags = [one(COLOURS), one(MATERIALS), one(THINGS), one(ROOMS)];
      const price = Math.round(random() * 50_000) / 100;
      const text = `A ${tags[0]} ${tags[2]} of ${tags[1]} for the ${tags[3]}, no. ${number}, made to last.`;
      this.products.push({ number, name: `${tags[0]} ${tags[2]} ${number}`, tags, price, stock: Math.floor(random() * 50), text });
      for (const tag of tags) {
        if (!having.has(tag)) having.set(tag, []);
        having.get(tag).push(number);
      }
    }
    // Plain numbers outside V8's heap: Uint32Array keeps them in `arrayBuffers`, which --max-old-space-size does not count.
    this.having = new Map([...having].map(([tag, list]) => [tag, Uint32Array.from(list)]));
  }

  /** The `count` products that have most of the words, the cheaper first among equals. */
  search(text, count) {
    const words = new Set(text.toLowerCase().match(/[a-z]+/g) ?? []);
    const hits = new Map();
    for (const word of words) {
      for (const number of (this.having.get(word) ?? []).slice(0, 1_000)) {
        hits.set(number, (hits.get(number) ?? 0) + 1);
      }
    }
    return [...hits]
      .sort(([a, hitsOfA], [b, hitsOfB]) => hitsOfB - hitsOfA || this.products[a].price - this.products[b].price)
      .slice(0, count)
      .map(([number, score]) => ({ ...this.products[number], score }));
  }
}
