"""Words of a synthetic city. Every name says that it is made up: 合成, synthetic."""

from typing import NamedTuple


class Kind(NamedTuple):
    """A class of components (`city/components.py`) that a synthetic city has."""

    code: str
    share: float
    owner: int
    """Number of the department that owns it."""
    line: bool = False


KINDS = (
    Kind("0101", 7, 0),
    Kind("0102", 9, 1),
    Kind("0103", 8, 1),
    Kind("0104", 9, 1),
    Kind("0105", 4, 2),
    Kind("0106", 3, 3),
    Kind("0107", 6, 4),
    Kind("0118", 11, 3),
    Kind("0201", 0.6, 5),
    Kind("0203", 1, 5),
    Kind("0209", 5, 6),
    Kind("0210", 2, 6),
    Kind("0211", 1.2, 6, True),
    Kind("0301", 0.5, 7),
    Kind("0305", 6, 7),
    Kind("0307", 3, 7),
    Kind("0401", 0.2, 8),
    Kind("0402", 14, 8),
    Kind("0403", 4, 8),
    Kind("0408", 0.8, 8, True),
    Kind("0501", 2, 9),
    Kind("0502", 0.2, 9),
    Kind("0505", 0.5, 9),
)
"""In the order of their codes; shares are made up."""

DEPARTMENTS = (
    "供水", "排水", "供电", "路灯", "通信", "公共交通", "交通管理", "市容环卫", "园林", "综合",
    "住房", "民政",
)  # fmt: skip

STATES = ("intact", "damaged", "missing")

ROADS = ("东西", "南北", "一环", "学府", "花园", "工业", "新村", "河滨", "市场", "公园")

UNIT_KINDS = (("shop", "商店"), ("firm", "公司"), ("school", "学校"), ("clinic", "诊所"), ("eatery", "餐馆"))


class Appeal(NamedTuple):
    """A category of appeals with words that a citizen might use; {} is where."""

    code: str
    name: str
    share: float
    words: tuple[str, ...]


HELPS = (
    Appeal("noise", "噪音扰民", 14, ("{}夜里施工噪音很大，睡不着", "{}广场舞音乐声太大", "{}楼上一直敲打")),
    Appeal("rubbish", "垃圾清运", 13, ("{}垃圾堆了好几天没人清", "{}垃圾桶满了，味道很大")),
    Appeal("parking", "违规停车", 12, ("{}消防通道被车堵住了", "{}有车乱停，出不去")),
    Appeal("water", "供水问题", 10, ("{}停水一天了，什么时候来水", "{}水压太低", "{}水管漏水")),
    Appeal("heating", "供暖问题", 10, ("{}暖气不热，家里只有十四度", "{}还没有供暖")),
    Appeal("property", "物业服务", 12, ("{}物业不修电梯", "{}物业费收得不合理", "{}小区门禁坏了没人管")),
    Appeal("light", "路灯照明", 6, ("{}路灯不亮", "{}路灯白天一直亮着")),
    Appeal("road", "道路破损", 7, ("{}路面有个大坑", "{}井盖松动，车过就响", "{}人行道砖坏了")),
    Appeal("dog", "犬只管理", 5, ("{}有人遛狗不牵绳", "{}流浪狗很多，孩子害怕")),
    Appeal("building", "违章建设", 6, ("{}有人在楼顶私自加盖", "{}院子里搭了棚子")),
    Appeal("other", "其他", 5, ("{}有事情请帮忙解决",)),
)
"""Local codes, made up."""

MIX = (("help", "求助", 0.56), ("enquiry", "咨询", 0.22), ("report", "举报", 0.087),
       ("complaint", "投诉", 0.069), ("suggestion", "建议", 0.064))  # fmt: skip
"""The mix of one prefecture's hotline, Heze 2023; what is left over is called suggestions here."""

ANSWERED = 0.86
"""Of a hotline's calls are closed at once by the clerk, Tangshan."""

README = """\
# A synthetic city

Made by `linli synth` from the seed {seed}. **Nobody and nothing in this folder is real.**

- The division code {division} and all codes that begin with it (99...) are given to nobody.
- The ground lies around {lon:g}, {lat:g}; streets are drawn by the seed.
- Names say 合成 (synthetic). Identity numbers have a valid check digit and an impossible division code.
- Telephone numbers begin with 100, which no telephone does.
- Codes and names of categories and components are made up where no standard was at hand.

The same seed and size give the same bytes. {bad}

| file | rows |
| --- | --- |
{files}
"""
