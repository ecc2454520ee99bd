// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const patience = 60 * time.Second

var program string // the built program

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chat")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "chat")
	args := []string{"build", "-o", program}
	if raceBuild() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func raceBuild() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// A server is the program, running.
type server struct {
	cmd  *exec.Cmd
	addr string
	log  *strings.Builder
}

func start(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(program, append([]string{"-listen", "127.0.0.1:0"}, args...)...), log: new(strings.Builder)}
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.cmd.Stderr = s.log
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, s.cmd.Wait(), "%s", s.log)
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	s.addr = strings.TrimPrefix(strings.TrimSpace(line), "listening tcp ")
	return s
}

// peakMemory is the most that the process has had of memory, in bytes.
func (s *server) peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	require.NoError(t, err)
	kib := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, kib)
	n, err := strconv.Atoi(string(kib[1]))
	require.NoError(t, err)
	return n << 10
}

// A person is a client.
type person struct {
	net.Conn
	in *bufio.Reader
}

// dial connects from the n-th person's own address; of one address there are not ports enough for all. A slow one has
// little room in its kernel, nor then has the server for it.
func (s *server) dial(n int, slow bool) (*person, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n/5000))}}
	if slow {
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) {
				err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10),
					unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536))
			})
			return err
		}
	}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	p := &person{c, bufio.NewReaderSize(c, 4<<10)}
	_ = c.SetDeadline(time.Now().Add(patience))
	return p, p.expect("* you are ")
}

// visit is dial for a test of its own.
func (s *server) visit(t *testing.T, nick string) *person {
	t.Helper()
	p, err := s.dial(0, false)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	p.ask(t, "/nick "+nick, "* you are "+nick)
	return p
}

// expect reads a line that begins so.
func (p *person) expect(prefix string) error {
	line, err := p.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		return fmt.Errorf("want %q, got %q, %w", prefix, line, err)
	}
	return nil
}

// ask sends a line and expects one that is the answer.
func (p *person) ask(t *testing.T, line, answer string) {
	t.Helper()
	_, err := fmt.Fprintln(p, line)
	require.NoError(t, err)
	got, err := p.in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, answer+"\n", got)
}

func TestCommands(t *testing.T) {
	s := start(t)
	anna, bert := s.visit(t, "anna"), s.visit(t, "bert")
	anna.ask(t, "hello?", "* nobody hears you, /join a room")
	anna.ask(t, "/who", "* nobody is with you, /join a room")
	anna.ask(t, "/join", `* no name of a room: ""`)
	anna.ask(t, "/join a b", `* no name of a room: "a b"`)
	anna.ask(t, "/nick bert", "* not renamed: somebody has that name")
	anna.ask(t, "/nick "+strings.Repeat("a", 33), fmt.Sprintf("* no name for you: %q", strings.Repeat("a", 33)))
	anna.ask(t, "/dance", `* no command: "/dance"`)
	anna.ask(t, "/join garden", "* you are in garden")
	anna.ask(t, "hello?", "anna: hello?")
	bert.ask(t, "/join kitchen", "* you are in kitchen")
	bert.ask(t, "/join garden", "* you are in garden")
	bert.ask(t, "hello", "bert: hello")
	require.NoError(t, anna.expect("bert: hello\n"))
	anna.ask(t, "a\rb", "* a line has no carriage return inside")
	anna.ask(t, strings.Repeat("x", maxLine), "anna: "+strings.Repeat("x", maxLine))
	require.NoError(t, bert.expect("anna: x"))
	anna.ask(t, strings.Repeat("x", maxLine+1), "* that is longer than 4096 bytes")
	anna.ask(t, "/join garden", "* you are in garden") // again changes nothing
	anna.ask(t, "/nick anne", "* you are anne")
	require.NoError(t, bert.Close())
	for {
		_, err := fmt.Fprintln(anna, "/who")
		require.NoError(t, err)
		line, err := anna.in.ReadString('\n')
		require.NoError(t, err)
		if line == "* 1 in garden, 0 lines missed by the slow: anne\n" {
			break
		}
	}
	s.visit(t, "bert").ask(t, "/join garden", "* you are in garden") // the name is free again
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-slow", "wait"}, {"-max-output", "0"}, {"room"}} {
		out, err := exec.Command(program, args...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.Equal(t, 2, exit.ExitCode())
	}
}

// Thousands in one room, one in a hundred of them slow. The others get all that is said, in order. The slow miss lines,
// but whole ones, as many as the server says; or they are dropped. The server's memory knows its bounds.
func TestCrowd(t *testing.T) {
	for policy, crowd := range map[string]int{"skip": 10000, "drop": 1000} {
		t.Run(policy, func(t *testing.T) {
			if raceBuild() {
				crowd = 1000 // the detector knows no more than 8128 goroutines
			}
			s := start(t, "-slow", policy, "-max-output", strconv.Itoa(16<<10))
			slow := crowd / 100
			people := make([]*person, crowd)
			inParallel(t, 64, crowd, func(i int) (err error) {
				if people[i], err = s.dial(i, i < slow); err != nil {
					return err
				}
				if _, err = fmt.Fprintln(people[i], "/join hall"); err != nil {
					return err
				}
				return people[i].expect("* you are in hall")
			})
			defer func() {
				for _, p := range people {
					p.Close()
				}
			}()
			speaker := people[crowd-1]
			heard := make(chan error, crowd)
			for _, p := range people[slow : crowd-1] {
				go func() {
					_, err := p.listen(true)
					heard <- err
				}()
			}
			said := speaker.talk(t, policy, crowd, slow)
			for range crowd - 1 - slow {
				require.NoError(t, <-heard)
			}
			missed := 0
			for _, p := range people[:slow] {
				_ = p.Conn.(*net.TCPConn).CloseWrite() // and what waits for it comes
				n, err := p.listen(false)
				if policy == "drop" {
					require.ErrorIs(t, err, syscall.ECONNRESET)
					continue
				}
				require.NoError(t, err)
				missed += said - n
			}
			present, counted := speaker.who(t)
			require.Equal(t, crowd-slow, present)
			if policy == "skip" {
				require.Equal(t, missed, counted)
			}
			peak := s.peakMemory(t)
			t.Logf("%d lines to %d people, %d missed; the server had %d MiB at most", said, crowd, counted, peak>>20)
			if !raceBuild() {
				require.Less(t, peak, 40<<20+crowd*8<<10) // were lines kept for everyone, it would be much more
			}
		})
	}
}

// line is what the speaker says as the n-th.
func line(n int) string { return fmt.Sprintf("%d %s", n, strings.Repeat("la ", 300)) }

const lastWords = "good night"

// listen reads what is said: all of it until the last words, or what comes until the connection ends. It returns how many lines
// that was. They must be whole and in order.
func (p *person) listen(all bool) (lines int, err error) {
	for next := 0; ; next++ {
		got, err := p.in.ReadSlice('\n')
		if err == io.EOF && !all && len(got) == 0 {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines++
		_, text, _ := strings.Cut(strings.TrimSuffix(string(got), "\n"), ": ")
		if text == lastWords {
			if all {
				return lines, nil
			}
			continue
		}
		number, _, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < next || all && n > next || text != line(n) {
			return lines, fmt.Errorf("want line %d, got %q", next, got)
		}
		next = n
	}
}

// talk has p say lines until the slow are gone, or miss some, and then the last words. It returns how many lines that was.
func (p *person) talk(t *testing.T, policy string, crowd, slow int) (lines int) {
	t.Helper()
	say := func(text string) {
		_, err := fmt.Fprintln(p, text)
		require.NoError(t, err)
	}
	hear := func(want string) {
		got, err := p.in.ReadString('\n')
		require.NoError(t, err)
		_, text, _ := strings.Cut(strings.TrimSuffix(got, "\n"), ": ")
		require.Equal(t, want, text)
	}
	const batch = 16
	for present, missed := crowd, 0; policy == "drop" && present > crowd-slow || policy == "skip" && missed < 3*slow; present, missed = p.who(t) {
		for i := range batch {
			say(line(lines + i))
		}
		for i := range batch {
			hear(line(lines + i))
		}
		lines += batch
	}
	say(lastWords)
	hear(lastWords)
	return lines + 1
}

// who asks how many are in the room, and how many lines were missed.
func (p *person) who(t *testing.T) (present, missed int) {
	t.Helper()
	_, err := fmt.Fprintln(p, "/who")
	require.NoError(t, err)
	answer, err := p.in.ReadString('\n')
	require.NoError(t, err)
	_, err = fmt.Sscanf(answer, "* %d in hall, %d lines missed", &present, &missed)
	require.NoError(t, err, answer)
	return present, missed
}

// inParallel calls fn with 0 to n-1 on some goroutines and expects that none fails.
func inParallel(t *testing.T, goroutines, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < n; i += goroutines {
				if err := fn(i); err != nil {
					t.Errorf("person %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
