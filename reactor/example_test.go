// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// An echo server, from its first listener to its end.
func Example() {
	r, err := reactor.New(reactor.Options{}) // one loop per CPU
	if err != nil {
		log.Fatal(err)
	}
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(in)
		return len(in), err
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			log.Print(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "how do you do")
		conn.(*net.TCPConn).CloseWrite() // and yet the whole answer comes
		answer, _ := io.ReadAll(conn)
		fmt.Printf("%s\n", answer)
	}()

	fmt.Println(r.Serve(ctx)) // until ctx is done, then drains
	// Output:
	// how do you do
	// <nil>
}

// A codec cuts the stream into messages, so that the handler sees nothing else. This protocol is sixteen bytes, an
// answer and the end.
func ExampleFrames() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	greeting := reactor.Frames(codec.Fixed(16), reactor.FrameFunc(func(c *reactor.Conn, frame []byte) error {
		fmt.Printf("%q\n", frame)
		c.Write([]byte("Hello World!"))
		return c.Close() // when the answer has been sent
	}))
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return greeting, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	for _, piece := range []string{"the network ", "cuts", " as it likes"} {
		fmt.Fprint(conn, piece)
	}
	answer, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", answer)
	// Output:
	// "the network cuts"
	// Hello World!
}

// A Ref reaches a connection from any goroutine, and is good as a key: here, of those who want to hear the news.
func ExampleRef() {
	r, err := reactor.New(reactor.Options{Loops: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	var mu sync.Mutex
	subscribers := make(map[reactor.Ref]bool)
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(c *reactor.Conn) (reactor.Handler, error) {
		mu.Lock()
		subscribers[c.Ref()] = true
		mu.Unlock()
		_, err := c.Write([]byte("welcome\n"))
		return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return len(in), nil }), err
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	welcome := make([]byte, len("welcome\n"))
	io.ReadFull(conn, welcome)
	fmt.Printf("%s", welcome)

	mu.Lock()
	for ref := range subscribers {
		if _, err := ref.Write([]byte("news\n")); err != nil { // net.ErrClosed: it is gone
			delete(subscribers, ref)
		}
		ref.Close() // after what was written before
	}
	mu.Unlock()
	news, _ := io.ReadAll(conn)
	fmt.Printf("%s", news)
	// Output:
	// welcome
	// news
}

// What one says, all hear: the message is made once and copied for nobody, and who cannot keep up is dropped.
func ExampleGroup() {
	r, err := reactor.New(reactor.Options{Loops: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	everyone := r.NewGroup()
	line := codec.Line(1 << 10)
	speaker := reactor.Frames(line, reactor.FrameFunc(func(_ *reactor.Conn, text []byte) error {
		said, err := reactor.SharedFrame(line, text)
		if err != nil {
			return err
		}
		return everyone.Write(said, (*reactor.Conn).Abort)
	}))
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(c *reactor.Conn) (reactor.Handler, error) {
		if err := everyone.Add(c); err != nil {
			return nil, err
		}
		_, err := c.Write([]byte("welcome\n"))
		return speaker, err
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	var listeners []*bufio.Reader
	for range 3 {
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		in.ReadString('\n') // the welcome: it is a member now
		if listeners = append(listeners, in); len(listeners) == 3 {
			fmt.Fprint(conn, "good morning\n")
		}
	}
	for _, in := range listeners {
		heard, _ := in.ReadString('\n')
		fmt.Print(heard)
	}
	// Output:
	// good morning
	// good morning
	// good morning
}

// A socket outlives the listener that gave it away. Nobody who connects meanwhile is refused.
func ExampleReactor_ListenFiles() {
	serve := func(name string) (*reactor.Reactor, reactor.AcceptFunc) {
		r, err := reactor.New(reactor.Options{Loops: 1})
		if err != nil {
			log.Fatal(err)
		}
		go r.Serve(context.Background())
		return r, func(c *reactor.Conn) (reactor.Handler, error) {
			c.Write([]byte(name))
			c.Close()
			return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return len(in), nil }), nil
		}
	}
	first, accept := serve("the first")
	lis, err := first.Listen("tcp", "127.0.0.1:0", accept, nil)
	if err != nil {
		log.Fatal(err)
	}
	files, err := lis.Files()
	if err != nil {
		log.Fatal(err)
	}
	first.Close()
	conn, err := net.Dial("tcp", lis.Addr().String()) // now it waits
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	second, accept := serve("the second")
	defer second.Close()
	if _, err := second.ListenFiles(files, accept, nil); err != nil {
		log.Fatal(err)
	}
	files[0].Close()
	served, _ := io.ReadAll(conn)
	fmt.Printf("served by %s\n", served)
	// Output: served by the second
}

// A server that replaces itself: it takes the sockets that it was given, binds where there are none, and on SIGHUP has
// its successor take them.
func ExampleHandOver() {
	given, err := reactor.Inherited()
	if err != nil {
		log.Fatal(err)
	}
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	echo := func(*reactor.Conn) (reactor.Handler, error) {
		return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			_, err := c.Write(in)
			return len(in), err
		}), nil
	}
	var lis *reactor.Listener
	if len(given.Sockets) > 0 {
		lis, err = r.ListenFiles(given.Sockets[0].Files, echo, nil)
	} else {
		lis, err = r.Listen("tcp", "127.0.0.1:0", echo, nil)
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := given.Ready(); err != nil {
		log.Print(err)
	}
	given.Close()

	ctx, stop := context.WithCancel(context.Background())
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			patience, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := reactor.HandOver(patience, exec.Command(os.Args[0], os.Args[1:]...), lis)
			cancel()
			if err == nil {
				lis.Close() // the successor has it
				stop()
				return
			}
			log.Print(err) // and on we go
		}
	}()

	stop() // here; a server would now wait for signals
	fmt.Println("served:", r.Serve(ctx))
	signal.Stop(hangups)
	close(hangups)
	// Output: served: <nil>
}

// Stats tells what the loops have done. A server would have its monitoring ask.
func ExampleReactor_Stats() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	hello := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		c.Write([]byte("hello"))
		return len(in), c.Close()
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return hello, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			log.Print(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "hi")
		io.ReadAll(conn)
	}()
	if err := r.Serve(ctx); err != nil {
		log.Fatal(err)
	}

	s := r.Stats()
	n, closes, _ := s.Total()
	fmt.Println("received", n.BytesReceived, "sent", n.BytesSent, "closed here", closes[reactor.CloseLocal])
	// Output:
	// received 2 sent 5 closed here 1
}

// A trace tells what happens inside the loops, here to one connection.
func ExampleReactor_Trace() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	hello := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		c.Write([]byte("hello"))
		return len(in), c.Close()
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return hello, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	trace, err := r.Trace(reactor.TraceOptions{Filter: func(e *reactor.TraceEvent) bool {
		return e.Kind == reactor.TraceData || e.Kind == reactor.TraceWrite || e.Kind == reactor.TraceClose
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			log.Print(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "hi")
		io.ReadAll(conn)
	}()
	if err := r.Serve(ctx); err != nil {
		log.Fatal(err)
	}

	trace.Stop()
	events, _ := trace.Events()
	for _, e := range events {
		fmt.Println(e.String())
	}
	// Output:
	// handler consumed 2 of 2 bytes
	// wrote 5 of 5 bytes
	// closed: local
}
