// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/exchange"
)

// Exercise 1: recvmsg tells by a flag that a datagram was longer than the buffer.
func Example_truncated() {
	a, b := pair()
	defer unix.Close(a)
	defer unix.Close(b)
	study.Check(unix.Send(a, []byte("more than eight bytes"), 0))
	n, _, flags, _, err := unix.Recvmsg(b, make([]byte, 8), nil, 0)
	fmt.Println(n, flags&unix.MSG_TRUNC != 0, err)
	// Output: 8 true <nil>
}

// Exercise 2: whoever needs an answer asks again. The server here loses the first datagram.
func Example_again() {
	r := study.Must(reactor.New(reactor.Options{Loops: 1}))
	asked := 0
	lis := study.Must(r.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		if asked++; asked > 1 {
			study.Check(d.Reply(d.Payload))
		}
	}), nil))
	defer study.Serve(r)()

	c := study.Must(exchange.Dial(context.Background(), "udp", lis.Addr().String(),
		&exchange.Options{Backoff: exchange.Backoff{First: 50 * time.Millisecond, Limit: time.Minute}}))
	defer c.Close()
	fmt.Printf("%s\n", study.Must(c.Do(context.Background(), []byte("hello"))))
	// Output: hello
}

// Exercise 3: there is no end of a connection to hear of, so a server that keeps state for each client needs a time after
// which it forgets.
func Example_sessions() {
	r := study.Must(reactor.New(reactor.Options{Loops: 1}))
	counting := reactor.Sessions(func(*reactor.Session) (reactor.SessionHandler, error) { return &session{}, nil },
		&reactor.SessionOptions{IdleTimeout: 100 * time.Millisecond})
	lis := study.Must(r.ListenPacket("udp", "127.0.0.1:0", counting, nil))
	defer study.Serve(r)()
	fmt.Println(ask(lis.Addr().String(), "hello"))
	fmt.Println(<-ended)
	// Output:
	// datagram 1
	// reactor: idle timeout
}

var ended = make(chan error, 1)

type session struct{ datagrams int }

func (h *session) Datagram(_ *reactor.Session, d *reactor.Datagram) {
	h.datagrams++
	study.Check(d.Reply(fmt.Appendf(nil, "datagram %d", h.datagrams)))
}

func (h *session) Close(_ *reactor.Session, err error) {
	select {
	case ended <- err:
	default:
	}
}
