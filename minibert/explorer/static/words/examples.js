// Texts to try, in the languages of minibert-demo; the same in every language of the page.  JSON, as Python reads it, too.
export const EXAMPLES = {
  "en": {
    "sentence": ["She opened the door and looked into the garden."],
    "mask": ["He opened the [MASK] and went into the house."],
    "two": ["He left the house at once.", "His left hand was cold."],
    "pair": ["He went into the garden.", "The flowers were all in bloom."]
  },
  "ko": {
    "sentence": ["배우들의 연기가 정말 좋은 영화예요."],
    "mask": ["배송이 [MASK] 좋아요."],
    "two": ["배를 타고 바다로 나갔다.", "배를 한 상자 샀는데 정말 달아요."],
    "pair": ["배송이 정말 빨라요.", "포장도 꼼꼼하게 잘 되어 있어요."]
  },
  "zh": {
    "sentence": ["您可以使用这个命令安装软件包。"],
    "mask": ["您可以使用这个[MASK]令安装软件包。"],
    "two": ["他在银行工作。", "在命令行中输入这个命令。"],
    "pair": ["您可以使用这个编辑器打开文件。", "保存文件后，请退出编辑器。"]
  }
};
