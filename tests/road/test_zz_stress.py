import json, random, threading, time
from concurrent.futures import ThreadPoolExecutor
import pytest
from tests.road.test_order import Arrivals, say, BUSY, now, START
from tests.road.harness import Road, token, user_of
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer
from worker.stores.breaker import Breaker

class Died(BaseException): pass
USERS=[f"u{n}" for n in range(12)]

class Stops(Arrivals):
    def __init__(self, seed):
        super().__init__(seed); self.accepted={u:[] for u in USERS}; self.bad=False; self.over=False
    def send(self, provider, notifications, *, following, seen=None, **how):
        before={a:p for p,a in following.items()}
        responses=[]
        die = not self.over and self.chance.random()<0.03
        for place,one in enumerate(notifications):
            held = place in before and responses[before[place]] is not ACCEPTED
            r = HELD_UP if held else self.arrive(one)
            responses.append(r)
            if seen is not None: seen[place]=r
            time.sleep(self.chance.random()*0.002)
            if die and place>len(notifications)/2:
                time.sleep(0.08)
                raise Died
        return responses
    def arrive(self, n):
        with self.lock:
            if self.bad and not self.over: return Answer(403,"ExpiredProviderToken" if self.chance.random()<0.0 else "InvalidProviderToken")
            if self.chance.random()<0.1 and not self.over: return self.chance.choice(self.FAULTS)
            d=json.loads(n.payload); what=d.get("carillon",{"channel":"","event":""})
            self.trace.append((time.time(),"arrive",user_of(n),what["event"]))
            self.accepted[user_of(n)].append((what["channel"],what["event"],d["aps"]["badge"]))
            return ACCEPTED

@pytest.mark.parametrize("seed", range(12))
def test_stress(road, seed):
    now=road; now.run
    chance=random.Random(seed*7+1)
    now.now=time.time()
    now.member("all","leia",*USERS)
    for c in range(4): now.member(f"c{c}","leia",*chance.sample(USERS,8))
    now.take()
    st=Stops(seed); now.apns.send=st.send; over=threading.Event()
    fails=[]
    trace=[]
    J=now.journal; T,F,R=J.take_batch,J.finish,J.return_batch
    def take(lane,**k):
        t=T(lane,**k)
        if t: trace.append((time.time(),"take",t.id,[(t.batch.sendings[j.sending].event_id,j.user) for j in t.batch.jobs],dict(look=t.look and t.look.probe,blocked=t.blocked,waits=t.waits,over=t.overtaking,acc=t.accepted,out=t.outcomes)))
        return t
    def fin(b,later,*a):
        t0=time.time(); n=F(b,later,*a); trace.append((time.time(),"finish",b,n,[(p.id,p.delay,p.behind,p.put_off,[(p.batch.sendings[j.sending].event_id,j.user) for j in p.batch.jobs]) for p in later])); return n
    def ret(b,d=0.0):
        n=R(b,d); trace.append((time.time(),"return",b,d,n)); return n
    J.take_batch,J.finish,J.return_batch=take,fin,ret
    st.trace=trace
    def work():
        while not over.is_set():
            try:
                if not now.delivery.deliver("urgent") and not now.delivery.deliver("bulk"): time.sleep(0.003)
            except Died: pass
            except Exception as x: fails.append(x); raise
    said={f"c{c}":[] for c in range(4)}
    with ThreadPoolExecutor(4) as ws:
        rs=[ws.submit(work) for _ in range(4)]
        try:
            for n in range(60):
                c=f"c{chance.randrange(4)}"
                said[c].append(f"e{n}"); say(now,f"e{n}",channel=c)
                if n==20: st.bad=True
                if n==30: st.bad=False; 
                if n>30: now.redis.delete(f"carillon:probe:{now.provider.id}")
                if chance.random()<.5 or n==59:
                    now.take(); now.expand()
                if n%4==0: now.later(2.0, leases=n%8==0 and n%16==0)
                if n in (40,): 
                    Breaker(now.redis).stop(now.provider.id,"by hand",time.time(),manual=True)
                if n==45: Breaker(now.redis).resume(now.provider.id,by_hand=True)
                time.sleep(0.01)
            ends=time.monotonic()+40
            while now.journal.backlog()[1]:
                assert time.monotonic()<ends, "stuck"
                now.redis.delete(f"carillon:probe:{now.provider.id}")
                now.later(2.0, leases=False)
                if time.monotonic()>ends-30: now.later(9.0); st.over=True
                now.take(); now.expand(); time.sleep(0.02)
        finally: over.set()
        for r in rs: r.result()
    badges=now.redis.hgetall("carillon:badge:demo")
    bad=[]
    for u,acc in st.accepted.items():
        for c,events in said.items():
            first=list(dict.fromkeys(e for of,e,_ in acc if of==c))
            want=[e for e in events if e in first]
            if first!=want: bad.append((u,c,first,want))
        [device]=now.devices.user_devices("demo",[u])
        if acc and acc[-1][2]!=int(badges[str(device).encode()]): bad.append((u,"badge",acc[-3:],badges[str(device).encode()]))
    if bad:
        u=bad[0][0]; print("BAD",bad[0])
        ids=set()
        for t in trace:
            if t[1]=="take" and any(x[1]==u for x in t[3]): ids.add(t[2])
            if t[1]=="finish":
                for p in t[4]:
                    if any(x[1]==u for x in p[4]): ids.add(p[0])
        for t in sorted(trace,key=lambda t:t[0]):
            if t[2] in ids or t[1]=="arrive" and t[2]==u:
                line=list(t)
                if t[1]=="take": line[3]=[x[0] for x in t[3] if x[1]==u]+[len(t[3])]
                if t[1]=="finish": line[4]=[(p[0],p[1],p[2],p[3],[x[0] for x in p[4] if x[1]==u]) for p in t[4]]
                print(round(t[0]%1000,3),*line[1:])
    assert not bad, bad[:4]
    print(now.journal.counts("demo"))
