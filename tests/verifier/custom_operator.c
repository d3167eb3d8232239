/* A library of one operator for onnxruntime: com.acme:MyOp, y = x * |x| on float32.

   onnxruntime's package for Python has no headers, so what is needed of them is declared here. OrtApi is a struct of
   function pointers that only ever grows at its end: the numbers below are places in it since its version 1. */

#include <stddef.h>
#include <stdint.h>

typedef void *Status; /* NULL is success */
typedef Status (*Function)();
enum {
  CREATE_DOMAIN = 26, ADD_TO_DOMAIN = 27, ADD_DOMAIN = 28, GET_DATA = 51, COUNT_DIMENSIONS = 61, GET_DIMENSIONS = 62,
  COUNT_ELEMENTS = 64, GET_SHAPE = 65, GET_INPUT = 90, GET_OUTPUT = 91, RELEASE_SHAPE = 99
};
enum { FLOAT = 1, MOST_DIMENSIONS = 16 };

typedef struct Operator Operator;
struct Operator {
  uint32_t version;
  void *(*create)(const Operator *, const Function *api, const void *info);
  const char *(*name)(const Operator *);
  const char *(*provider)(const Operator *);
  int (*input_type)(const Operator *, size_t);
  size_t (*inputs)(const Operator *);
  int (*output_type)(const Operator *, size_t);
  size_t (*outputs)(const Operator *);
  void (*compute)(void *kernel, void *context);
  void (*destroy)(void *kernel);
  int (*input_kind)(const Operator *, size_t);
  int (*output_kind)(const Operator *, size_t);
  int (*input_memory)(const Operator *, size_t);
  void *later[16]; /* of versions that this one does not claim */
};

static void *create(const Operator *self, const Function *api, const void *info) { return (void *)api; }
static const char *name(const Operator *self) { return "MyOp"; }
static const char *provider(const Operator *self) { return NULL; }
static int type(const Operator *self, size_t index) { return FLOAT; }
static int usual(const Operator *self, size_t index) { return 0; } /* required; in the memory of the provider */
static size_t one(const Operator *self) { return 1; }
static void destroy(void *kernel) {}

static void compute(void *kernel, void *context) {
  const Function *api = kernel;
  void *x, *y, *shape;
  float *from, *to;
  int64_t lengths[MOST_DIMENSIONS];
  size_t rank, size;
  api[GET_INPUT](context, (size_t)0, &x);
  api[GET_SHAPE](x, &shape);
  api[COUNT_DIMENSIONS](shape, &rank);
  api[GET_DIMENSIONS](shape, lengths, rank);
  api[COUNT_ELEMENTS](shape, &size);
  ((void (*)(void *))api[RELEASE_SHAPE])(shape);
  api[GET_OUTPUT](context, (size_t)0, lengths, rank, &y);
  api[GET_DATA](x, &from);
  api[GET_DATA](y, &to);
  for (size_t place = 0; place < size; place++) to[place] = from[place] * (from[place] < 0 ? -from[place] : from[place]);
}

static const Operator my_op = {13,   create, name,    provider, type,  one,   type,
                              one,  compute, destroy, usual,   usual, usual, {NULL}};

Status RegisterCustomOps(void *options, const struct { const Function *(*get)(uint32_t); const char *(*version)(void); } *base) {
  const Function *api = base->get(1);
  void *domain;
  Status failed = api[CREATE_DOMAIN]("com.acme", &domain);
  if (!failed) failed = api[ADD_TO_DOMAIN](domain, &my_op);
  return failed ? failed : api[ADD_DOMAIN](options, domain);
}
