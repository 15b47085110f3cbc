"""The few words that the launcher and the checks of exercises say themselves, in the three languages."""

from types import MappingProxyType

LANGUAGES = ("en", "ko", "zh")

WORDS = MappingProxyType(
    {
        "en": {
            "lesson": "Lesson {number}",
            "exercise": "Exercise {number}",
            "solution": "Solution",
            "unanswered": "Not answered yet: put your answer in place of ... and run the cell again.",
            "start": "Run this cell first: it gives the notebook `check`, which answers your exercises.",
            "line": "line {line}",
            "title": "lesson",
            "question": "question",
            "use": "minibert learn N writes lesson N as a notebook; --text prints it; --lang en, ko or zh",
        },
        "ko": {
            "lesson": "{number}과",
            "exercise": "연습 문제 {number}",
            "solution": "풀이",
            "unanswered": "아직 답이 없습니다. ... 자리에 답을 쓰고 셀을 다시 실행하십시오.",
            "start": "이 셀을 먼저 실행하십시오. 연습 문제의 답을 확인하는 `check`를 준비합니다.",
            "line": "{line}행",
            "title": "제목",
            "question": "질문",
            "use": "minibert learn N은 N과를 노트북으로 저장합니다. --text는 출력만 합니다. 언어: --lang en, ko, zh",
        },
        "zh": {
            "lesson": "第 {number} 课",
            "exercise": "练习 {number}",
            "solution": "解答",
            "unanswered": "还没有作答：请把 ... 换成你的答案，再运行一次这个单元格。",
            "start": "请先运行这个单元格：它准备好 `check`，用来检查练习的答案。",
            "line": "第 {line} 行",
            "title": "标题",
            "question": "问题",
            "use": "minibert learn N 把第 N 课写成笔记本，加上 --text 则在这里打印；语言用 --lang en、ko、zh 选择。",
        },
    }
)
