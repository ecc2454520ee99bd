// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
)

// A service that blocks for each line. The client may send them all at once: the answers come in order, although several
// are being made at a time.
func ExampleFrames() {
	pool, err := offload.New(offload.Options{Workers: 100, Parallel: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(context.Background())
	lines := codec.Line(1024)
	service := offload.Frames(pool, lines, lines, offload.FrameFunc(
		func(ctx context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			select {
			case <-time.After(time.Millisecond): // a database, say
				return []byte(strings.ToUpper(string(line))), nil
			case <-ctx.Done(): // nobody waits any more
				return nil, context.Cause(ctx)
			}
		}))

	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return service, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "one\ntwo\nthree\n")
	conn.(*net.TCPConn).CloseWrite()
	for answers := bufio.NewScanner(conn); answers.Scan(); {
		fmt.Println(answers.Text())
	}
	// Output:
	// ONE
	// TWO
	// THREE
}

// A handler on the loop that has one part of its work done elsewhere.
func ExampleDo() {
	pool, err := offload.New(offload.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(context.Background())
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	resolve := func(c *reactor.Conn, name []byte) error {
		host := string(name) // name is the loop's
		return offload.Do(pool, c, func(ctx context.Context) ([]string, error) {
			return net.DefaultResolver.LookupHost(ctx, host) // on a worker
		}, func(c *reactor.Conn, addresses []string, err error) { // on the loop
			if err != nil {
				c.CloseWithError(err)
				return
			}
			fmt.Fprintf(c, "%s is %s\n", host, addresses[0])
		})
	}
	handler := reactor.Frames(codec.Line(256), reactor.FrameFunc(resolve))
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return handler, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "127.0.0.1")
	answer, _ := bufio.NewReader(conn).ReadString('\n')
	fmt.Print(answer)
	// Output:
	// 127.0.0.1 is 127.0.0.1
}
