#!/usr/bin/env python3
"""Sends hostile datagrams to a gateway: IKE on UDP 500 and 4500, ESP as protocol 50.

The seed is fixed, so that a failure comes again. Messages to truncate, mutate or replay come
from a capture of a real exchange.
"""
import argparse
import random
import socket
import struct
import time


def payloads_of(path):
    """The (port, UDP payload) pairs of IKE and the protocol-50 payloads of a pcap file."""
    udp, esp = [], []
    with open(path, "rb") as f:
        data = f.read()
    if len(data) < 24 or struct.unpack("<I", data[:4])[0] not in (0xA1B2C3D4, 0xA1B23C4D):
        raise SystemExit("hostile.py: not a little-endian pcap file: " + path)
    off = 24
    while off + 16 <= len(data):
        caplen = struct.unpack_from("<I", data, off + 8)[0]
        frame = data[off + 16 : off + 16 + caplen]
        off += 16 + caplen
        if len(frame) < 34 or frame[12:14] != b"\x08\x00":
            continue
        ip = frame[14:]
        ihl = (ip[0] & 15) * 4
        total = struct.unpack_from("!H", ip, 2)[0]
        body = ip[ihl:total]
        if ip[9] == 17 and len(body) > 8:
            port = struct.unpack_from("!H", body, 2)[0]
            if port in (500, 4500):
                udp.append((port, body[8:]))
        elif ip[9] == 50:
            esp.append(body)
    return udp, esp


def ike(port, data):
    """An IKE message as it stands on that port: with the non-ESP marker on 4500."""
    return b"\0\0\0\0" + data if port == 4500 else data


def bare(port, data):
    return data[4:] if port == 4500 and data[:4] == b"\0\0\0\0" else data


def mutate(rnd, data):
    data = bytearray(data)
    for _ in range(rnd.choice((1, 1, 2, 4, 16))):
        what = rnd.randrange(5)
        if not data:
            break
        at = rnd.randrange(len(data))
        if what == 0:
            data[at] ^= 1 << rnd.randrange(8)
        elif what == 1:
            data[at] = rnd.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif what == 2:
            del data[at : at + rnd.randrange(1, 9)]
        elif what == 3:
            data[at:at] = rnd.randbytes(rnd.randrange(1, 9))
        elif len(data) >= 2:
            at = rnd.randrange(len(data) - 1)
            data[at : at + 2] = rnd.choice((b"\0\0", b"\0\3", b"\0\4", b"\xff\xff", b"\x7f\xff"))
    # a wrong length in the header is found at once; most of the time, let it pass that check
    if len(data) >= 28 and rnd.random() < 0.8:
        struct.pack_into("!I", data, 24, len(data))
    return bytes(data)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--to", required=True)
    p.add_argument("--from", dest="source", required=True)
    p.add_argument("--kind", required=True)
    p.add_argument("--pcap")
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    rnd = random.Random(a.seed)
    udp, esp = payloads_of(a.pcap) if a.pcap else ([], [])
    if a.kind in ("truncated", "mutated", "replayed", "notify", "init") and not udp:
        raise SystemExit("hostile.py: the capture has no IKE message")

    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(proto, payload):
        # the kernel fills in length and checksum of the IP header
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, proto, 0,
                           socket.inet_aton(a.source), socket.inet_aton(a.to))
        try:
            raw.sendto(head + payload, (a.to, 0))
        except OSError:
            pass  # too long for the link, or no buffer: the next one

    def send_udp(port, payload, sport=None):
        payload = payload[:1472]
        # no checksum: allowed for IPv4
        send(17, struct.pack("!HHHH", sport or port, port, 8 + len(payload), 0) + payload)

    init = [(q, bare(q, d)) for q, d in udp if len(bare(q, d)) > 28 and bare(q, d)[18] == 34]
    for i in range(a.count):
        if a.kind == "random":
            port = rnd.choice((500, 4500))
            data = rnd.randbytes(rnd.choice((0, 1, 3, 4, 5, 8, 27, 28, 29, 60, 400, 1400)))
            if rnd.random() < 0.5 and len(data) >= 28:
                data = (data[:16] + bytes((rnd.choice((0, 33, 46, 53)), 0x20, rnd.choice((34, 35, 36, 37)),
                        rnd.choice((0x08, 0x20, 0x28)))) + struct.pack("!II", rnd.choice((0, 1, 2**32 - 1)), len(data)) + data[28:])
            send_udp(port, ike(port, data) if rnd.random() < 0.7 else data)
        elif a.kind == "truncated":
            port, data = rnd.choice(udp)
            send_udp(port, data[: rnd.randrange(len(data))])
        elif a.kind == "mutated":
            port, data = rnd.choice(udp)
            send_udp(port, ike(port, mutate(rnd, bare(port, data))))
        elif a.kind == "replayed":
            port, data = rnd.choice(udp)
            send_udp(port, data)
        elif a.kind == "esp":
            if esp and rnd.random() < 0.7:
                data = bytearray(rnd.choice(esp))
                if rnd.random() < 0.5:
                    data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)  # else: a replay
                data = bytes(data[: rnd.randrange(len(data))] if rnd.random() < 0.2 else data)
            else:
                data = rnd.randbytes(rnd.randrange(0, 200))
            if rnd.random() < 0.7:
                send(50, data)
            else:
                send_udp(4500, data)
        elif a.kind == "notify":
            # an error without protection, with the SPIs of a real IKE SA
            port, data = rnd.choice(udp)
            data = bare(port, data)
            if len(data) < 28:
                continue
            kind = rnd.choice((1, 4, 7, 9, 11, 14, 17, 24, 36, 38, 44, 16390))
            body = struct.pack("!BBHBBH", 0, 0, 8, 0, 0, kind)
            send_udp(port, ike(port, data[:16] + bytes((41, 0x20, rnd.choice((34, 35, 36, 37)), rnd.choice((0, 8, 0x20, 0x28))))
                     + struct.pack("!II", rnd.randrange(4), 28 + len(body)) + body))
        elif a.kind == "init":
            port, data = rnd.choice(init)
            send_udp(500, rnd.randbytes(8) + b"\0" * 8 + data[16:], sport=rnd.randrange(1024, 65535))
        else:
            raise SystemExit("hostile.py: unknown kind " + a.kind)
        if i % 50 == 49:
            time.sleep(0.005)


main()
