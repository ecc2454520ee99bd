// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// exampleServer serves one loop on an address that the system chooses.
func exampleServer(accept reactor.AcceptFunc, o *reactor.StreamOptions) (r *reactor.Reactor, address string) {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	lis, err := r.Listen("tcp", "127.0.0.1:0", accept, o)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())
	return r, lis.Addr().String()
}

// A server that counts down writes while nothing arrives.
func ExampleConn_AfterFunc() {
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		n := 3
		var next *reactor.Timer
		next = c.AfterFunc(0, func(c *reactor.Conn) {
			if n == 0 {
				c.Write([]byte("go\n"))
				c.Close()
				return
			}
			fmt.Fprintln(c, n)
			n--
			next.Reset(time.Millisecond)
		})
		return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return len(in), nil }), nil
	}, nil)
	defer r.Close()

	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	said, _ := io.ReadAll(conn)
	fmt.Printf("%s", said)
	// Output:
	// 3
	// 2
	// 1
	// go
}

// Each connection has twenty milliseconds for its next word.
func ExampleConn_SetReadDeadline() {
	ended := make(chan error, 1)
	h := &hooks{close: func(_ *reactor.Conn, err error) { ended <- err }}
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		return h, c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	}, nil)
	defer r.Close()

	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close() // having said nothing
	err = <-ended
	fmt.Println(err, errors.Is(err, os.ErrDeadlineExceeded))
	// Output:
	// reactor: nothing received by the read deadline true
}

// One connection is allowed more silence than the listener's others.
func ExampleConn_SetIdleTimeout() {
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			c.SetIdleTimeout(time.Hour) // who has spoken may be silent
			_, err := c.Write(in)
			return len(in), err
		}), nil
	}, &reactor.StreamOptions{IdleTimeout: 250 * time.Millisecond})
	defer r.Close()

	silent, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer silent.Close()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, len("hello"))
	fmt.Fprint(conn, "hello")
	io.ReadFull(conn, answer)
	io.ReadAll(silent) // until it is closed
	fmt.Fprint(conn, "again")
	io.ReadFull(conn, answer)
	fmt.Printf("%s\n", answer)
	// Output:
	// again
}

// A client that begins a frame and does not finish it is not waited for.
func ExampleStreamOptions_frameTimeout() {
	ended := make(chan error, 1)
	lines := reactor.Frames(codec.Line(80), &frameHooks{
		hooks: hooks{close: func(_ *reactor.Conn, err error) { ended <- err }},
		frame: func(c *reactor.Conn, line []byte) error { _, err := fmt.Fprintf(c, "you said %s\n", line); return err },
	})
	r, address := exampleServer(func(*reactor.Conn) (reactor.Handler, error) { return lines, nil },
		&reactor.StreamOptions{FirstByteTimeout: 10 * time.Second, FrameTimeout: 20 * time.Millisecond})
	defer r.Close()

	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "hello\nand then")
	answer, _ := io.ReadAll(conn)
	fmt.Printf("%s%v\n", answer, <-ended)
	// Output:
	// you said hello
	// reactor: frame timeout
}

// A datagram client sends its question again until it is answered.
func ExamplePacketConn_AfterFunc() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	// A server that is deaf to every question but the third.
	asked := 0
	server, err := r.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		if asked++; asked == 3 {
			_ = d.Reply([]byte("42"))
		}
	}), nil)
	if err != nil {
		log.Fatal(err)
	}
	to := netip.MustParseAddrPort(server.Addr().String())

	answer := make(chan string, 1)
	client := &questioner{to: to, answer: answer}
	lis, err := r.ListenPacket("udp", "127.0.0.1:0", client, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())
	begin, err := net.Dial("udp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer begin.Close()
	fmt.Fprint(begin, "begin")
	fmt.Println(<-answer)
	// Output:
	// 42
}

type questioner struct {
	to     netip.AddrPort
	retry  *reactor.Timer
	answer chan<- string
}

func (q *questioner) Datagram(s *reactor.PacketConn, d *reactor.Datagram) {
	switch {
	case d.From == q.to && q.retry.Stop():
		q.answer <- string(d.Payload)
	case q.retry == nil:
		q.retry = s.AfterFunc(0, q.ask)
	}
}

func (q *questioner) ask(s *reactor.PacketConn) {
	_ = s.Send([]byte("?"), netip.AddrPort{}, q.to) // lost or not, it is asked again
	q.retry.Reset(5 * time.Millisecond)
}

// What belongs to no connection has the reactor's own timers: here, telling everybody the time until told to end.
func ExampleReactor_AfterFunc() {
	r, address := exampleServer(func(*reactor.Conn) (reactor.Handler, error) { return &hooks{}, nil }, nil)
	defer r.Close()
	err := r.AfterFunc(time.Millisecond, func(t *reactor.Timer) {
		for ref := range r.Conns() {
			_, _ = ref.Write([]byte("tick "))
		}
		t.Reset(time.Millisecond)
	})
	if err != nil {
		log.Fatal(err)
	}

	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ticks := make([]byte, len("tick tick tick"))
	io.ReadFull(conn, ticks)
	fmt.Printf("%s\n", ticks)
	// Output:
	// tick tick tick
}
