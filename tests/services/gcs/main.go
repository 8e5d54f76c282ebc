// A Google Cloud Storage server for the tests of caudal.store: gcsemu, and what it lacks of the real one.
//
// gcsemu has generations, preconditions under a lock (uploads of each kind, deletes), resumable uploads, pages and MD5 sums.
// It gives a reader the present object whatever generation the reader asks for; the real server, and this one, does not.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/fullstorydev/emulators/storage/gcsemu"
)

func main() {
	port := flag.Int("port", 0, "on 127.0.0.1")
	bucket := flag.String("bucket", "", "a bucket that is there from the start")
	flag.Parse()

	emulator := gcsemu.NewGcsEmu(gcsemu.Options{})
	if err := emulator.InitBucket(*bucket); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	emulator.Register(mux)
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *port), pinned(mux)))
}

// pinned answers a read of one generation, or on the condition of one, with that generation: otherwise with 404, or with 412.
func pinned(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wanted, condition := r.URL.Query().Get("generation"), r.URL.Query().Get("ifGenerationMatch")
		if r.Method != http.MethodGet || wanted+condition == "" {
			inner.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		inner.ServeHTTP(answer, r)
		present := answer.Header().Get("X-Goog-Generation")
		if answer.Code == http.StatusOK && wanted != "" && present != wanted {
			http.Error(w, `{"error": {"code": 404, "message": "No such object"}}`, http.StatusNotFound)
			return
		}
		if answer.Code == http.StatusOK && condition != "" && present != condition {
			http.Error(w, `{"error": {"code": 412, "message": "conditionNotMet"}}`, http.StatusPreconditionFailed)
			return
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}
