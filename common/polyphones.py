"""Polyphones that a phrase dictionary reads wrong in song lines, by what stands around them.

Each rule is a pattern whose group `x` is the character, and its reading; the first that matches
wins over pypinyin's answer. They were written for sentences of the test table
(`tests/fixtures/readings.txt`) and their like; a user's own `{reading}` wins over them.
"""

import re
from functools import cache

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_OFFICES = (
    "生成增助滋疯校院队班家市部船酋首站社会局省县州行师团连排军组科处厂店馆所村乡镇区事书兄学渐见年尊外野"
    "催暗徐"
)
_ADVERBS = (
    "悄然|温柔|安静|用力|努力|勇敢|疯狂|认真|不停|大声|小心|快乐|幸福|骄傲|自由|不断|拼命|匆忙|放肆|尽情|深情|无声|"
    "孤单|寂寞|倔强|坚强|简单|热烈|肆意|任性|真心|不经意|不自觉|一点一滴|一遍又一遍|一次又一次|不顾一切|义无反顾|"
    "毫不犹豫|小心翼翼|自然而然|情不自禁|慢慢|一步一步"
)
_PLACES_WITHIN = "心眼梦其空水手怀雨风山途人城海云夜掌家当脑之雾林火画歌镜年"
_THINKING = r"(?<![玉雕石])(?<!玉[经不须要])"
_RULES: tuple[tuple[str, str], ...] = (
    # 长: long, unless it grows or leads
    (r"[很太多好更最漫悠细绵修狭拉延越](?P<x>长)(?![大成高出满辈老者子官得在着胖起])", "chang2"),
    (rf"(?<![{_OFFICES}])(?P<x>长)(?![{_HAN}])", "chang2"),
    (
        rf"(?<![{_OFFICES}])(?P<x>长)(?=大衣|[发夜街路巷河江城廊椅裙亭笛风空安久短度远途假期情眠叹梦歌镜袖线音调桥堤恨])",
        "chang2",
    ),
    (r"(?P<x>长)(?=长[的地])", "chang2"),
    # 行: a row of something
    (
        rf"[一两几数二三四五六七八九十](?P<x>行)(?=行|诗|字|泪|眼泪|热泪|白鹭|脚印|足迹|歌词|雁|[^{_HAN}]|$)",
        "hang2",
    ),
    (r"[一两几]行(?P<x>行)", "hang2"),
    # 行: to go together, unless 同行 are those of one's trade
    (r"(?<!不)同(?P<x>行)(?!业|们|竞|相[轻忌妒]|是?冤|之间|里的)", "xing2"),
    # 还: to give back, at the end of a line or before what is given back
    (rf"(?P<x>还)(?=[^{_HAN}]*$)", "huan2"),
    (r"(?P<x>还)(?=[你我他她]|给|钱|债|清(?![楚醒晰澈白净凉静冷])|愿|乡|魂|原|礼|账)", "huan2"),
    (r"(?P<x>还)(?=了(?!得|解|然|如指|不[得起]|无(?!数)|[却断悟结了]))", "huan2"),
    (
        r"(?P<x>还)(?=[不得](?:清(?![楚醒晰澈白净凉静冷理扫洗点])|完(?![美全整善])|起(?![来风床身飞舞程誓得早]))|不了(?![解断了]))",
        "huan2",
    ),
    (r"(?P<x>还)(?=完(?![整全美好善没]))", "huan2"),
    (r"(?P<x>还)(?=清[楚醒晰澈])", "hai2"),
    (r"[还清完](?P<x>了)(?=[债账愿]|无数)", "le5"),
    # 背: to carry
    (r"(?P<x>背)(?=起|负|上行|上书|上吉|上背|井离|着[背书吉行包孩她他])", "bei1"),
    # 朝: the morning
    (r"(?P<x>朝)(?=阳(?![区门])|霞|露|夕|暮)", "zhao1"),
    (r"[今明](?P<x>朝)", "zhao1"),
    # 得: must
    (r"[我你他她们](?P<x>得)(?=[走回去来找学等把让要先再给好靠自陪为向跟看做忘])", "dei3"),
    (r"[总必非还都就可](?P<x>得)(?=[走回去来找学等把让要先给靠自看有])", "dei3"),
    # 得: how something is done
    (r"[说看写唱做走跑想讲听问飞笑哭爱睡吃来活站过](?P<x>得)(?=[对很太真那这多好更最像])", "de5"),
    # 缝: to sew; 曲: a song; 为: to count as; 大夫: a doctor; 圆圆 keeps its tone
    (r"(?P<x>缝)(?=缝补补|补|衣|上|合|了|好|住|进|制)", "feng2"),
    (r"缝(?P<x>缝)(?=补补)", "feng2"),
    (r"[一几两首支这那旧新老名插序](?P<x>曲)(?!线|折|径|解|直)", "qu3"),
    (r"(?<=难)(?P<x>为)(?=水)", "wei2"),
    (r"(?<!士)(?P<x>大)(?=夫(?!人|妻|妇))", "dai4"),
    (r"(?<!士)大(?P<x>夫)(?!人|妻|妇)", "fu5"),
    (r"圆(?P<x>圆)", "yuan2"),
    (r"圈(?P<x>圈)", "quan1"),
    # 了: can't
    (r"不(?P<x>了)", "liao3"),
    # 着: after what is worn or covered
    (r"[穿蒙披戴](?P<x>着)(?![装得打])", "zhe5"),
    (r"扇(?P<x>着)(?!了)", "zhe5"),
    # 地: after an adverb
    (rf"(?P<r>[{_HAN}])(?P=r)(?P<x>地)(?![方上面球图铁下点带板])", "de5"),
    (rf"(?:{_ADVERBS})(?P<x>地)(?![方上面球图铁下点带板])", "de5"),
    # verbs that the dictionary takes for nouns
    (r"(?<![子炸导枪中流炮])(?P<x>弹)(?=[着起一吉琴唱奏不钢得给完响过琵古首了到出])", "tan2"),
    (r"(?<![宗请佛家说管调文指赐道新旧])(?P<x>教)(?=[我你他她它会给过着人得]|孩子)", "jiao1"),
    (
        r"(?<![无次多少岁分人倍指总半度系整心礼招变定算为])(?P<x>数)(?=[着一到完遍过星羊]|不[清完尽过]|了[一又]|得清)",
        "shu3",
    ),
    (r"数一(?P<x>数)", "shu3"),
    (r"(?P<x>散)(?=[落开去了场尽不会布心播失])(?!了架)", "san4"),
    (r"[吹走失离飘四消驱解拆冲聚分](?P<x>散)", "san4"),
    (r"(?P<x>铺)(?=[满开着了上路成展就垫平陈])", "pu1"),
    (r"(?<![一密亲急热迫真关])(?P<x>切)(?=[开成断碎割换下片菜掉])", "qie1"),
    (r"(?P<x>削)(?=[苹皮铅果梨])", "xiao1"),
    (r"(?<![挣驻包])(?P<x>扎)(?=辫|着|起|马尾|头发)", "za1"),
    (r"(?P<x>蒙)(?=[着住上面尘眼])", "meng2"),
    # 种: to plant one of what grows; 奔: to run straight to somebody
    (
        r"(?<![这那各某哪几一种])(?P<x>种)(?=(?:了|过|着)?[一两三几]?[棵株片朵丛]|[满了](?!种)|一[棵株片朵丛])",
        "zhong4",
    ),
    (r"(?<!飞)(?P<x>奔)(?=[向往]|着[你他她那远家])", "ben4"),
    (r"(?P<x>撒)(?=[下满在落向种播遍盐]|了一)", "sa3"),
    (r"(?<![关联维体派世血干星])(?P<x>系)(?=[着上紧住好鞋]|领带|围巾)", "ji4"),
    (r"(?P<x>量)(?=一量|量看|体温|身高)", "liang2"),
    (r"量一(?P<x>量)", "liang2"),
    # 中: to be hit, unless it is the middle of something
    (
        rf"(?<![{_PLACES_WITHIN}])(?P<x>中)(?=了(?:[你我他她谁]|爱的|毒|箭|奖|计|邪|蛊|魔|弹|枪|暑|招|标|圈套|一[枪箭])|招(?![手展摇呼])|箭)",
        "zhong4",
    ),
    # 重: one above the other
    (
        rf"[一二两三四五六七八九十百千万几数](?P<x>重)(?=[山水浪门关楼岭峰云雾烟帘影围又叠]|天(?!气)|一重|[^{_HAN}]|$)",
        "chong2",
    ),
    (rf"有多(?P<x>重)(?=[^{_HAN}]|$)", "zhong4"),
    # 冲: towards somebody
    (
        r"(?<![缓脉俯怒猛折气])(?P<x>冲)(?=着(?:[你我他她它谁咱这那天月海人远]|太阳|阳光|星空|大家|镜头|窗))",
        "chong4",
    ),
    (r"(?<![缓脉俯怒猛折气])(?P<x>冲)(?=[你我他她](?:笑|喊|吼|挥|招手|点头|眨|微笑|来的))", "chong4"),
    # 卷: a painted scroll
    (r"画(?P<x>卷)(?![起成曲走着])", "juan4"),
    # 扇: to fan
    (
        r"(?<![风电吊折团蒲羽纸葵蕉宫门窗一两几])(?P<x>扇)(?=[着动了风来去过走凉]|起(?!伏)|扇子|巴掌|耳光|一扇)",
        "shan1",
    ),
    # 琢磨: to think about, unless it is jade that is polished
    (rf"{_THINKING}(?P<x>琢)(?=磨(?!成|玉|石))", "zuo2"),
    (rf"{_THINKING}琢(?P<x>磨)(?!成|玉|石)", "mo5"),
    # 结果: what comes of it, unless a tree bears it
    (r"(?:(?:开花|花开)[又也再后而]?|树上|不)(?P<x>结)(?=果)", "jie1"),
    (r"(?P<x>结)(?=果(?!子|树|实(?![在际])))", "jie2"),
    # 累累: one after the other
    (r"(?<![好太很真])(?P<x>累)(?=累的?[伤罪血债白])", "lei3"),
    (r"(?<![好太很真])累(?P<x>累)(?=的?[伤罪血债白])", "lei3"),
    # the rest
    (
        r"[一两二三四五六七八九十百千几每](?P<x>只)(?![有要是能会想为剩好求愿怕因留身在用不把得当可见听看说顾管等差])",
        "zhi1",
    ),
    (r"(?P<x>便)(?=宜)", "pian2"),
    (r"掉(?P<x>色)", "shai3"),
)


@cache
def _by_character() -> dict[str, list[tuple[re.Pattern[str], str]]]:
    table: dict[str, list[tuple[re.Pattern[str], str]]] = {}
    for pattern, reading in _RULES:
        compiled = re.compile(pattern)
        target = re.search(r"\(\?P<x>(.)\)", pattern)
        assert target is not None, f"a rule names its character: {pattern}"
        table.setdefault(target[1], []).append((compiled, reading))
    return table


def corrections(text: str) -> dict[int, str]:
    """Readings of characters of a bare text by their place, where a rule knows better."""
    found: dict[int, str] = {}
    table = _by_character()
    for character in set(text) & table.keys():
        for pattern, reading in table[character]:
            for match in pattern.finditer(text):
                found.setdefault(match.start("x"), reading)
    return found
