// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e

package browsertest_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience is how long anything may take that is not measured.
const patience = 30 * time.Second

var (
	program string          // the servers, built
	browser context.Context // in which each test has a tab
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "servers")
	build := exec.Command("go", "build", "-o", program, "./servers")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build.Args, err, out)
		return 1
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(4*patience)) // for the first start after its installation; 20 s else
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	var leave context.CancelFunc
	// What fails is returned as well; what is only said is of events that this chromedp has not heard of.
	browser, leave = chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	defer leave()
	if err := chromedp.Run(browser); err != nil {
		fmt.Fprintln(os.Stderr, "chromium does not start:", err)
		return 1
	}
	return m.Run()
}

// A server is the program, running with -inspect.
type server struct {
	t       *testing.T
	cmd     *exec.Cmd
	exited  chan struct{}
	address string // of its first listener
	page    string
}

var (
	listens  = regexp.MustCompile(`listening \S+ (\S+)`)
	inspects = regexp.MustCompile(`msg=inspect .*url=(\S+)`)
)

// start runs the program until the test ends.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, cmd: exec.Command(program, args...), exited: make(chan struct{})}
	var said buffer
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	require.NoError(t, s.cmd.Start())
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(s.kill)
	var listening, inspected []string
	eventually(t, "the server has a page", func() bool {
		text := said.String()
		listening, inspected = listens.FindStringSubmatch(text), inspects.FindStringSubmatch(text)
		return listening != nil && inspected != nil
	})
	s.address, s.page = listening[1], inspected[1]
	return s
}

func (s *server) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.exited
}

type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "waited in vain: %s", what)
	}
}

// A tab shows a page.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// A screen is what a page is looked at on.
type screen struct {
	name          string
	width, height int64
	dark          bool
}

var desk = screen{"desk", 1440, 900, false}

// open shows a page on a screen, and expects that its scripts fail nowhere until the test ends.
func open(t *testing.T, url string, on screen) *tab {
	t.Helper()
	ctx, leave := chromedp.NewContext(browser)
	t.Cleanup(leave)
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var failures []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		if e, failed := event.(*runtime.EventExceptionThrown); failed {
			failures = append(failures, e.ExceptionDetails.Error())
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		require.Empty(t, failures, "scripts failed")
	})
	scheme := "light"
	if on.dark {
		scheme = "dark"
	}
	p := &tab{t: t, ctx: ctx}
	p.do(chromedp.EmulateViewport(on.width, on.height),
		chromedp.ActionFunc(func(ctx context.Context) error {
			return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}).Do(ctx)
		}),
		chromedp.Navigate(url))
	p.until("it is live", `document.getElementById("status").dataset.state === "live"`)
	return p
}

func (p *tab) do(actions ...chromedp.Action) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Run(p.ctx, actions...))
}

// press has keys pressed, one after the other.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do(chromedp.KeyEvent(key))
	}
}

// drawn waits until the page has drawn what it knows.
func (p *tab) drawn() {
	p.t.Helper()
	p.do(chromedp.Evaluate(`new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))`, nil,
		func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
}

// value returns what a JavaScript expression is now.
func value[T any](p *tab, expression string, args ...any) (v T) {
	p.t.Helper()
	p.do(chromedp.Evaluate(fmt.Sprintf(expression, args...), &v))
	return v
}

// until waits for a condition in JavaScript.
func (p *tab) until(what, condition string, args ...any) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the page says:\n%s", value[string](p, `document.body.innerText`))
		}
	}()
	eventually(p.t, what, func() bool { return value[bool](p, "!!("+condition+")", args...) })
}

// says waits until what a selector finds says something that matches a pattern: in its label, or the text of all its
// parts with blanks between them.
func (p *tab) says(selector, pattern string) {
	p.t.Helper()
	p.until(selector+" says "+pattern, `((e) => e && new RegExp(%q).test(e.ariaLabel ?? e.innerText.replace(/\s+/g, " ")))(document.querySelector(%q))`, pattern, selector)
}

// picture keeps what the page looks like, and returns it.
func (p *tab) picture(name string) []byte {
	p.t.Helper()
	var png []byte
	p.do(chromedp.CaptureScreenshot(&png))
	require.NoError(p.t, os.WriteFile(filepath.Join(p.t.ArtifactDir(), name+".png"), png, 0o644))
	return png
}
