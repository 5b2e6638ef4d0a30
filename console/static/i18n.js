// Every text of the page, in both languages: [English, Chinese]. {name} is filled in by t(key, {name}).
export const TEXTS = {
  language: ["Language", "语言"],
  rooms: ["Rooms", "页面"],
  roomVideo: ["Video", "视频"],
  roomCity: ["City", "城市"],
  cameras: ["Cameras", "摄像机"],
  counts: ["Counts per interval", "分时段计数"],
  countsNote: ["The pale bar is the interval now running", "浅色为当前时段"],
  alerts: ["Alerts", "告警"],
  camera: ["Camera", "摄像机"],
  kind: ["Kind", "类型"],
  all: ["All", "全部"],
  open: ["Open", "未解除"],
  cleared: ["Cleared", "已解除"],
  more: ["Show older", "显示更早的告警"],
  blur: ["Blur people", "模糊人像"],
  blurNote: ["Live video reaches this page unblurred; the page blurs it.", "实时视频以原画传到本页，由页面进行模糊。"],
  signIn: ["Sign in", "登录"],
  signOut: ["Sign out", "退出"],
  signInWhy: ["Pictures of people are shown to those the site has named. Enter your access token.", "画面涉及个人，仅对本站点授权的人员开放。请输入访问令牌。"],
  signInFailed: ["This token is not known here. Ask whoever runs the site for one.", "令牌无效，请向站点管理员索取。"],
  token: ["Access token", "访问令牌"],
  allCameras: ["All cameras", "全部摄像机"],
  allKinds: ["All kinds", "全部类型"],
  figureCameras: ["cameras", "台摄像机"],
  figureOpen: ["open alerts", "未解除告警"],
  figureCrossings: ["crossings", "通过人次"],
  figureShown: ["shown live", "正在观看"],
  pushOn: ["Events arrive at once", "事件实时推送"],
  pushOff: ["Connection lost, trying again", "连接中断，正在重连"],
  pushStart: ["Connecting", "正在连接"],
  noCameras: ["This site has no cameras. Add a [[camera]] to the site file and start again.", "本站点没有摄像机。请在站点文件中添加 [[camera]] 后重新启动。"],
  noAlerts: ["No alerts yet. They appear here the moment a rule finds something.", "暂无告警。规则一旦触发，告警会立即显示在这里。"],
  noAlertsFilter: ["No alert matches these filters.", "没有符合筛选条件的告警。"],
  noCounts: ["No counts yet: no camera has a line or a zone, or nothing has been counted.", "暂无计数：摄像机未设置计数线或区域，或尚未计到目标。"],
  alertsFailed: ["The alerts cannot be read: {why}", "无法读取告警：{why}"],
  fatal: ["The console cannot be reached: {why}", "无法连接控制台：{why}"],
  in: ["in", "进"],
  out: ["out", "出"],
  now: ["now", "当前"],
  max: ["max", "最多"],
  gun: ["fixed", "枪机"],
  dome: ["pan-tilt-zoom", "球机"],
  face: ["face capture", "人脸抓拍机"],
  liveConnecting: ["Connecting to the live view", "正在连接实时画面"],
  liveWaiting: ["No video from this camera yet. It shows here as soon as the recorder has its first pictures.", "摄像机尚无画面，收到视频后将自动显示。"],
  liveOff: ["The live view was interrupted, trying again", "实时画面中断，正在重连"],
  liveRefused: ["You have no right to the live view", "您没有查看实时画面的权限"],
  livePaused: ["Out of sight: the live view is paused", "不在视野内，实时画面已暂停"],
  liveCodec: ["This browser cannot play {codec}. Still pictures of the keyframes are shown; set the camera's sub-stream to H.264 for video.", "浏览器无法播放 {codec}，仅显示关键帧静态画面；如需视频，请将子码流设为 H.264。"],
  behind: ["live −{s} s", "实时 −{s} 秒"],
  lazy: ["lazy", "按需解码"],
  full: ["full", "全解码"],
  awake: ["awake", "活动"],
  asleep: ["quiet", "安静"],
  shedding: ["shedding", "跳帧中"],
  offline: ["no connection", "连接断开"],
  healthy: ["connected", "已连接"],
  unknown: ["no report yet", "尚无状态"],
  intrusion: ["Intrusion", "区域入侵"],
  loitering: ["Loitering", "徘徊"],
  crowd: ["Crowd", "人员聚集"],
  wrong_way: ["Wrong way", "逆行"],
  stationary: ["Stationary object", "静止物体"],
  crossing: ["Line crossed", "越线"],
  info: ["info", "提示"],
  minor: ["minor", "一般"],
  major: ["major", "重要"],
  critical: ["critical", "紧急"],
  severity: ["Severity", "级别"],
  rule: ["Rule", "规则"],
  since: ["Since", "开始"],
  until: ["Until", "结束"],
  duration: ["Lasted", "持续"],
  state: ["State", "状态"],
  reason: ["Why cleared", "解除原因"],
  object: ["Object", "目标"],
  "reason.left": ["left", "已离开"],
  "reason.moved": ["moved on", "已移走"],
  "reason.dispersed": ["dispersed", "已散开"],
  "reason.stream-ended": ["video ended", "视频中断"],
  "reason.handed-over": ["another box took the camera over", "摄像机已由另一台设备接管"],
  "reason.gap": ["not seen after a gap", "中断后未再出现"],
  "reason.rule-removed": ["rule removed", "规则已删除"],
  dwell_s: ["Stayed, s", "停留（秒）"],
  count: ["People", "人数"],
  distance: ["Distance, of the picture's height", "距离（占画面高度）"],
  angle_deg: ["Off the opposite way, °", "与反方向夹角（°）"],
  stood_s: ["Stood, s", "静止（秒）"],
  person: ["person", "行人"],
  car: ["car", "小汽车"],
  truck: ["truck", "卡车"],
  bus: ["bus", "公交车"],
  bicycle: ["bicycle", "自行车"],
  motorcycle: ["motorcycle", "摩托车"],
  backpack: ["backpack", "背包"],
  suitcase: ["suitcase", "行李箱"],
  handbag: ["handbag", "手提包"],
  pictureFollows: ["picture follows", "图片生成中"],
  clipFollows: ["The clip follows: it is cut when the alert's last seconds are recorded.", "录像片段稍后生成：告警结束的画面录制完成后截取。"],
  clipMissing: ["The clip cannot be shown: {why}", "无法播放录像片段：{why}"],
  close: ["Close", "关闭"],
  plainPurpose: ["Purpose, kept in the access log", "用途（记入访问日志）"],
  plainPicture: ["Plain picture", "原始图片"],
  plainClip: ["Plain clip", "原始录像"],
  plainRefused: ["Refused: {why}", "已拒绝：{why}"],
  plainWhy: ["Pixelated for everybody by default. Looking at it plain needs a purpose and is logged.", "默认对所有人模糊显示。查看原始画面须填写用途并记录在案。"],
  plainShown: ["Shown plain. This look was logged.", "正在显示原始画面，本次查看已记录。"],
  seconds: ["{s} s", "{s} 秒"],
  agoSeconds: ["{n} s ago", "{n} 秒前"],
  agoMinutes: ["{n} min ago", "{n} 分钟前"],
  agoHours: ["{n} h ago", "{n} 小时前"],
  agoDays: ["{n} days ago", "{n} 天前"],
  viewMoving: ["moving", "转动中"],
  viewUnknown: ["unknown view", "未知画面"],
  preset: ["View", "预置位"],
  place: ["Place", "位置"],
  value: ["Value", "数值"],
  limit: ["Limit", "阈值"],
  causes: ["Made of", "由以下告警组成"],
  sensor: ["Sensor", "传感器"],
  noPicture: ["no picture", "无图片"],
  anomaly: ["Unusual", "异常行为"],
  threshold: ["Over the limit", "超出阈值"],
  rate: ["Changes fast", "变化过快"],
  deviation: ["Unusual value", "数值异常"],
  silence: ["Sensor silent", "传感器无数据"],
  joint: ["Several at once", "联合告警"],
  "reason.view-left": ["the camera turned away", "摄像机已转离"],
  "reason.returned": ["back to usual", "已恢复正常"],
  "reason.parted": ["its parts do not hold together any more", "各条件不再同时成立"],
  judgement: ["Judgement", "研判"],
  judgeTitle: ["What was it?", "研判此告警"],
  judgeNote: ["Note", "备注"],
  judgeFailed: ["Not kept: {why}", "未能保存：{why}"],
  judgedBy: ["{verdict}, by {who}", "{verdict}（{who}）"],
  "judge.true": ["True", "属实"],
  "judge.false": ["False", "误报"],
  "judge.ignore": ["Ignore here", "此处忽略"],
  "judge.true.why": ["It happened as it says. It is not learned as usual.", "情况属实，不作为正常情况学习。"],
  "judge.false.why": ["It did not happen.", "并未发生。"],
  "judge.ignore.why": ["It happened as it says, and is not wanted as an alert here.", "情况属实，但此处无需告警。"],
  faults: ["Faults", "设备故障"],
  faultOpen: ["now", "未恢复"],
  faultMended: ["mended", "已恢复"],
  "faultPicture.before": ["before", "故障前"],
  "faultPicture.after": ["after it began", "故障后"],
  "what.connection": ["connection", "连接"],
  "what.black": ["black", "黑屏"],
  "what.frozen": ["frozen", "画面冻结"],
  "what.still": ["replaced by a still", "画面被静止图片替换"],
  "what.covered": ["covered", "遮挡"],
  "what.glare": ["blinded by light", "强光致盲"],
  "what.defocused": ["out of focus", "失焦"],
  "what.turned": ["turned away", "偏转"],
  "what.shaken": ["shaken", "抖动"],
  "what.gap": ["gap in the video", "视频缺段"],
  "what.corrupt": ["damaged video", "视频损坏"],
  "what.clock": ["clock", "时钟偏差"],
  "what.shedding": ["shedding", "跳帧"],
  "what.model": ["model", "模型"],
  "what.worker": ["worker", "分析进程"],
  "what.disk": ["disk", "磁盘"],
  sensors: ["Sensors", "传感器"],
  sensorsMore: ["and {n} more", "另有 {n} 个"],
  sensorSilent: ["No reading yet", "尚无数据"],
  "quantity.level": ["level", "液位"],
  "quantity.temperature": ["temperature", "温度"],
  "quantity.humidity": ["humidity", "湿度"],
  "quantity.open": ["open", "开启"],
  "quantity.flow": ["flow", "流量"],
  "quantity.pressure": ["pressure", "压力"],
  "quantity.battery": ["battery", "电量"],
  faces: ["Captured faces", "人脸抓拍"],
  facesHeld: ["{n} pictures held", "现存图片 {n} 张"],
  facesSealed: ["{n} sealed originals", "加密原图 {n} 张"],
  facesFiling: ["filing is asked for at {n} persons", "处理人数达到 {n} 人须备案"],
  facesNote: ["A capture is not a person: who passes three times is captured three times. Nobody is recognised.", "一次抓拍不等于一个人：同一人经过三次即有三次抓拍。系统不识别任何人。"],
  noFaces: ["No captures.", "暂无抓拍。"],
  quality: ["quality", "质量"],
  faceTitle: ["Captured face", "人脸抓拍"],
  faceAt: ["Captured", "抓拍时间"],
  faceOriginal: ["Original", "原图"],
  faceSealed: ["kept, encrypted", "已加密保存"],
  faceNone: ["not kept", "未保存"],
  faceDeleted: ["deleted", "已删除"],
  faceOpen: ["Open the original", "查看原图"],
  faceOpening: ["Opening; this takes some seconds", "正在解密，请稍候"],
  faceOpenWhy: ["The original is encrypted. Opening it takes a purpose and the passphrase, and is logged.", "原图已加密。查看须填写用途并输入口令，且会记录在案。"],
  passphrase: ["Passphrase", "口令"],
  faceDelete: ["Delete this capture", "删除此抓拍"],
  faceDeleteSure: ["Press again to delete for good", "再次点击以永久删除"],
  "way.up": ["up", "向上"],
  "way.upRight": ["up and right", "向右上"],
  "way.right": ["right", "向右"],
  "way.downRight": ["down and right", "向右下"],
  "way.down": ["down", "向下"],
  "way.downLeft": ["down and left", "向左下"],
  "way.left": ["left", "向左"],
  "way.upLeft": ["up and left", "向左上"],
  "why.speed": ["a {what} at {value} {unit} where {low} to {high} {unit} is usual", "{what}速度 {value} {unit}，此处通常为 {low}～{high} {unit}"],
  "why.direction": ["a {what} going {way} in the picture ({value}°) where {low}° to {high}° is usual", "{what}在画面中{way}行进（{value}°），此处通常为 {low}°～{high}°"],
  "why.size": ["a {what} {value} % of the picture high where {low} to {high} % is usual", "{what}高度占画面 {value}%，此处通常为 {low}%～{high}%"],
  "why.dwell": ["a {what} that stays for {value} s where {low} to {high} s is usual", "{what}停留 {value} 秒，此处通常为 {low}～{high} 秒"],
  "why.place": ["a {what} where {value} % of all visits are", "{what}出现在罕见位置：仅占全部经过的 {value}%"],
  "why.class": ["a {what} where {value} % are of its kind and {usual} is usual", "此处出现{what}：该类目标仅占 {value}%，通常为{usual}"],
  "why.hour": ["a {what} at {clock} where {low} to {high} h is usual", "{what}在 {clock} 出现，通常在 {low}～{high} 时"],
  "why.rarity": ["; {percentile}th percentile of {days} days", "；比 {days} 天内 {percentile}% 的情况更少见"],
  "why.above": ["{value} {unit} is above the limit of {limit} {unit}", "数值 {value} {unit}，高于上限 {limit} {unit}"],
  "why.below": ["{value} {unit} is below the limit of {limit} {unit}", "数值 {value} {unit}，低于下限 {limit} {unit}"],
  "why.rise": ["rose by {rate} {unit} a minute over {over_s} s; the limit is {limit}", "{over_s} 秒内每分钟上升 {rate} {unit}，限值 {limit}"],
  "why.fall": ["fell by {rate} {unit} a minute over {over_s} s; the limit is {limit}", "{over_s} 秒内每分钟下降 {rate} {unit}，限值 {limit}"],
  "why.deviationAbove": ["{value} {unit} is {off} spreads above the median of {median} {unit}", "数值 {value} {unit}，比中位数 {median} {unit} 高 {off} 倍离散度"],
  "why.deviationBelow": ["{value} {unit} is {off} spreads below the median of {median} {unit}", "数值 {value} {unit}，比中位数 {median} {unit} 低 {off} 倍离散度"],
  "why.silence": ["no reading for {silent_s} s", "已 {silent_s} 秒无数据"],
  "mend.black": ["the picture is black; look at lens, light and camera", "画面全黑，请检查镜头、照明与摄像机"],
  "mend.frozen": ["the picture does not change; restart the camera", "画面不再变化，请重启摄像机并检查码流"],
  "mend.still": ["old pictures are shown again; look who feeds the stream", "重复播放旧画面，疑被静止图片或循环视频替换，请检查视频来源"],
  "mend.covered": ["the lens is covered; look at it and clean it", "镜头被遮挡，请到现场查看并清理"],
  "mend.glare": ["a light shines into the lens; turn it or shade it", "强光照入镜头，请调整角度或加装遮光罩"],
  "mend.defocused": ["out of focus; focus or clean the lens", "画面失焦，请对焦或擦拭镜头"],
  "mend.turned": ["the camera was turned; turn it back, or draw its lines anew", "摄像机偏离原方向，请复位；若为有意调整，请重画计数线与区域"],
  "mend.shaken": ["the camera shakes; fasten it", "画面持续抖动，请紧固支架"],
  "mend.shedding": ["the box is too slow; take a smaller model or fewer cameras", "本机处理能力不足：优先最新画面，录像不受影响；请换用更小的模型或减少摄像机"],
  "mend.connection": ["no connection; it is tried again", "连接失败，将自动重试"],
  "mend.clock": ["its clock is more than a second off; set its NTP server", "摄像机时钟偏差超过一秒，请设置与本机相同的 NTP 服务器"],
  "mend.disk": ["no room, or not writable; free some", "磁盘空间不足或不可写，请释放空间"],
  "mend.uploads": ["nothing is copied to the object store at present", "暂时无法备份到对象存储"],
  "mend.onvif": ["it does not tell its position; presets are recognised by the picture alone", "摄像机未告知朝向，暂仅凭画面识别预置位"],
  "mend.mqtt": ["no connection to the broker; it is tried again", "与消息代理的连接中断，将自动重试"],
  "what.onvif": ["position (ONVIF)", "云台位置（ONVIF）"],
  "what.mqtt": ["broker", "消息代理"],
  "what.sensors": ["readings", "传感器数据"],
  "what.consumer": ["consumer", "事件订阅方"],
  "what.uploads": ["copies to the object store", "对象存储备份"],
  "what.analysis": ["analysis", "分析"],
  "what.reading": ["reading the stream", "读取视频流"],
  "what.decode-mode": ["decoding", "解码方式"],
  box: ["This box", "本机"],
  "why.joint": ["{parts} at the same time, begun {apart_s} s apart", "{parts} 同时发生，起始相差 {apart_s} 秒"],
  "why.joined": ["{causes} alerts are part of it by now", "现已包含 {causes} 条告警"],
  minutes: ["{m} min {s} s", "{m} 分 {s} 秒"],
};

const LANGUAGES = ["en", "zh-CN"];
let current = "en";
const listeners = new Set();

export function language() {
  return current;
}

export function t(key, values = {}) {
  const pair = TEXTS[key];
  if (!pair) return key;
  return pair[current === "zh-CN" ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function has(key) {
  return key in TEXTS;
}

// What a camera or a model calls a thing may be a word of ours or not: then it stays as it is.
export function word(key) {
  return TEXTS[key] ? t(key) : key;
}

// A word that belongs to one kind of thing, e.g. wordOf("what", "still").
export function wordOf(prefix, key) {
  return TEXTS[`${prefix}.${key}`] ? t(`${prefix}.${key}`) : key;
}

export function time(us, withDate = false) {
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  if (withDate) Object.assign(options, { year: "numeric", month: "2-digit", day: "2-digit" });
  return new Intl.DateTimeFormat(current === "zh-CN" ? "zh-CN" : "en-GB", options).format(new Date(us / 1000));
}

export function duration(us) {
  const whole = Math.max(0, Math.round(us / 1e6));
  return whole < 60 ? t("seconds", { s: whole }) : t("minutes", { m: Math.floor(whole / 60), s: whole % 60 });
}

export function ago(us) {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - us / 1e6));
  if (seconds < 90) return t("agoSeconds", { n: seconds });
  if (seconds < 5400) return t("agoMinutes", { n: Math.round(seconds / 60) });
  return seconds < 129600 ? t("agoHours", { n: Math.round(seconds / 3600) }) : t("agoDays", { n: Math.round(seconds / 86400) });
}

export function onLanguage(listener) {
  listeners.add(listener);
}

export function fill(root = document) {
  for (const node of root.querySelectorAll("[data-i18n]")) node.textContent = t(node.dataset.i18n);
  for (const node of root.querySelectorAll("[data-i18n-label]")) node.setAttribute("aria-label", t(node.dataset.i18nLabel));
}

export function setLanguage(wanted) {
  current = LANGUAGES.includes(wanted) ? wanted : "en";
  document.documentElement.lang = current;
  localStorage.setItem("linli.language", current);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === current));
  }
  fill();
  for (const listener of listeners) listener();
}

export function startLanguage() {
  const wanted = localStorage.getItem("linli.language") ?? (navigator.language.startsWith("zh") ? "zh-CN" : "en");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => setLanguage(button.dataset.language));
  }
  setLanguage(wanted);
}
